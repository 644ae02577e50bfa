"""Contents of image files -> features: decode, resize, and run a compiled graph. Knows no Spark.

An engine runs a graph "uint8 RGB (BATCH, side, side, 3) in, float32 (BATCH, dimension) out". The
batch is fixed and the last one padded: a changing shape would be compiled anew, and with a fixed
one the features of an image do not depend on where it stands.
"""

import gc
import io
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from fruits.errors import BackboneError

ENGINES = ("openvino", "tensorflow")
PRECISIONS = ("f32", "bf16")

# Images that the network takes at once: what it makes of two stays in a core's cache. MobileNetV2
# in float32 runs a fifth faster than with 8, and no network more than a twentieth below its best.
BATCH = 2
# Images that are decoded in a row before the network has its turn: the code and the tables of each
# stay in the cache for a while, which is worth a tenth.
GROUP = 8

# Decoded pixels of one image: 64 Mi take 256 MB, and four times that as an animated WebP. JPEG is
# decoded at reduced scale, so a photograph of 200 megapixels passes; what does not is more likely a
# decompression bomb.
MAX_PIXELS = 64 << 20
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit looks at the size before the reduction.
# Each scan of a progressive JPEG passes over all its pixels, 4 ms for 64 Mi; cameras write ten.
MAX_SCANS = 500
# Damaged EXIF and the like: what it says against the pixels comes as an error.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Raster formats alone: Pillow knows others that run a program (EPS) or hide their size (ICO).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM")

Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class CompiledGraph:
    """A backbone with its weights and preprocessing, ready to be sent to the workers.

    Attributes:
        backbone: name of the network.
        weights_sha256: SHA-256 of its weights, in hexadecimal.
        engine: what can run it, one of :data:`ENGINES`.
        precision: of the arithmetic, one of :data:`PRECISIONS`.
        side: height and width of the input, in pixels.
        dimension: number of features.
        parts: the engine's own files by name.
    """

    backbone: str
    weights_sha256: str
    engine: str
    precision: str
    side: int
    dimension: int
    parts: dict[str, bytes] = field(repr=False)

    @property
    def identity(self) -> dict[str, str]:
        """What decides the features: those of another identity must not be mixed with these."""
        names = ("backbone", "weights_sha256", "engine", "precision")
        return {name: getattr(self, name) for name in names}

    def to_bytes(self) -> bytes:
        """The graph as one archive."""
        meta = asdict(self) | {"parts": sorted(self.parts)}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("graph.json", json.dumps(meta))
            for name, content in self.parts.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "CompiledGraph":
        """The graph of an archive that :meth:`to_bytes` made.

        Raises:
            BackboneError: when ``data`` is not such an archive.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                meta = json.loads(archive.read("graph.json"))
                meta["parts"] = {name: archive.read(name) for name in meta["parts"]}
            return cls(**meta)
        except Exception as error:  # A damaged archive can raise nearly anything.
            raise BackboneError(
                f"wanted a compiled graph; the data is damaged: {one_line(error)}"
            ) from error


class RejectedImage(Exception):
    """An image that yields no features; the message is the reason."""


def one_line(error: Exception) -> str:
    """What an exception says, on one printable line and without addresses in memory."""
    text = re.sub(r"\s*<[^<>]* at 0x[0-9a-fA-F]+>", "", str(error))
    line = " ".join(text.split()) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def decode(content: bytes, side: int) -> NDArray[np.uint8]:
    """The pixels of an image file, squeezed into a square.

    JPEG files are decoded at the smallest scale that keeps twice the wanted side. The orientation
    of a photograph is applied, transparent pixels are laid on white, 16-bit grey keeps its eight
    high bits.

    Args:
        content: of the file.
        side: wanted height and width, in pixels.

    Returns:
        uint8 RGB of shape (side, side, 3).

    Raises:
        RejectedImage: with the reason, when the content is no image, damaged or too large.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception as error:
        raise RejectedImage(
            f"not an image: {one_line(error) if content else 'empty file'}"
        ) from error
    try:
        full = image.size
        image.draft(None, (2 * side, 2 * side))
        # A progressive JPEG holds all its coefficients in memory, whatever the scale.
        width, height = full if image.info.get("progressive") else image.size
        if width * height > MAX_PIXELS:
            raise RejectedImage(
                f"too large: {full[0]} x {full[1]} pixels to decode, the limit is {MAX_PIXELS}"
            )
        if image.info.get("progressive") and content.count(b"\xff\xda") > MAX_SCANS:
            raise RejectedImage(f"too large: more than {MAX_SCANS} scans to decode")
        # Before the orientation is asked for: Pillow turns a TIFF itself when it loads it.
        image.load()
        turn = _TURNS.get(_orientation(image) or 0)
        square = _colours(image).resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
        if square.mode == "RGBA":
            white = Image.new("RGBA", square.size, "white")
            square = Image.alpha_composite(white, square).convert("RGB")
        return np.asarray(square.transpose(turn) if turn is not None else square)
    except RejectedImage:
        raise
    # Decoders raise nearly anything on damaged files; the row carries what it was.
    except Exception as error:
        raise RejectedImage(f"damaged: {one_line(error)}") from error


def featurize(
    contents: Iterable[bytes | Exception], graph: CompiledGraph
) -> Iterator[NDArray[np.float32] | str]:
    """The features of image files, in order.

    Args:
        contents: of the files; an exception stands for a file that could not be read.
        graph: the backbone.

    Yields:
        float32 of shape (graph.dimension,), or the reason why there are none.
    """
    network = load(graph)
    stream = iter(contents)
    while group := list(islice(stream, GROUP)):
        pixels = np.zeros((len(group), graph.side, graph.side, 3), np.uint8)
        reasons: list[str | None] = [None] * len(group)
        for row, content in enumerate(group):
            try:
                if isinstance(content, Exception):
                    raise RejectedImage(f"unreadable: {one_line(content)}")
                pixels[row] = decode(content, graph.side)
            except RejectedImage as rejected:
                reasons[row] = str(rejected)
        features = network(pixels)
        finite = np.all(np.isfinite(features), axis=1, keepdims=True)[:, 0]
        for row, reason in enumerate(reasons):
            if reason is None and not finite[row]:
                reason = "no features: the network gave values that are not finite"
            yield features[row] if reason is None else reason


def load(graph: CompiledGraph) -> Network:
    """The network of a graph, compiled for this machine and kept for the next task.

    Returns:
        uint8 of shape (n, side, side, 3) -> float32 of shape (n, dimension).
    """
    key = tuple(graph.identity.values())
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = _in_batches(_LOADERS[graph.engine](graph))
        # What is loaded by now stays. PySpark collects garbage after each task, and would look
        # through all these modules each time, for 80 ms.
        gc.freeze()
    return _loaded[key]


_loaded: dict[tuple[str, ...], Network] = {}


def _in_batches(network: Network) -> Network:
    """For any number of images, of a network that takes :data:`BATCH`."""

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        padding = np.zeros((-len(pixels) % BATCH, *pixels.shape[1:]), np.uint8)
        padded = np.concatenate([pixels, padding]) if len(padding) else pixels
        batches = [network(padded[n : n + BATCH]) for n in range(0, len(padded), BATCH)]
        return np.concatenate(batches)[: len(pixels)]

    return run


def _openvino(graph: CompiledGraph) -> Network:
    import openvino

    core = openvino.Core()
    model = core.read_model(model=graph.parts["graph.xml"], weights=graph.parts["graph.bin"])
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": _threads(),
            "NUM_STREAMS": 1,
            # Pinning would put the thread of every worker process on the same core.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": graph.precision,
        },
    )
    request = compiled.create_infer_request()

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        # A copy: the request writes its next answer into the same memory.
        return np.array(request.infer([pixels])[0], np.float32)

    return run


def _tensorflow(graph: CompiledGraph) -> Network:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

    definition = tf.compat.v1.GraphDef.FromString(graph.parts["graph.pb"])
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(definition, name="")
    # A session has its own threads and precision; tf.config would set those of the whole process.
    options = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=_threads(),
        inter_op_parallelism_threads=1,
        use_per_session_threads=True,
    )
    if graph.precision == "bf16":
        rewrites = options.graph_options.rewrite_options
        rewrites.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
    session = tf.compat.v1.Session(graph=imported, config=options)
    run: Network = session.make_callable("features:0", ["pixels:0"])
    return run


_LOADERS: dict[str, Callable[[CompiledGraph], Network]] = {
    "openvino": _openvino,
    "tensorflow": _tensorflow,
}


def _threads() -> int:
    """Threads for one network: Spark tells each Python worker the cores of its task."""
    return int(os.environ.get("OMP_NUM_THREADS") or 1)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Damaged EXIF says nothing about the orientation, nor against the pixels.
        return None


def _colours(image: Image.Image) -> Image.Image:
    """The image as RGB, or as RGBA where it has transparency."""
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        image = Image.fromarray((grey >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise RejectedImage("not an image: floating-point pixels have no defined range")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)
