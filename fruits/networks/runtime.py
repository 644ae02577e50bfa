"""Computes features of image files with a compiled graph, without Spark.

An engine runs a graph "uint8 RGB (batch, height, width, 3) in, float32 (batch, dimension) out". The
batch size is fixed, and the last batch is padded: a changing shape would be compiled again, and
with a fixed shape, the features of an image do not depend on its position in the batch.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fruits.errors import BackboneError
from fruits.images.decode import decode
from fruits.images.size_limits import RejectedImage, rejection
from fruits.images.thumbnail import thumbnail
from fruits.networks import processor
from fruits.networks.graph import CompiledGraph
from fruits.networks.graph_check import require_safe_openvino, require_safe_tensorflow
from fruits.networks.openvino_network import (
    Network,
    compile_openvino,
    network_for_one,
    network_of,
)

# The number of images that are decoded before the network runs. Alternating less often keeps the
# code and tables of both in the processor's cache, which saves 10 % of the time.
GROUP = 8


Keep = Callable[[bytes | None], object]


def featurize(
    contents: Iterable[bytes | Exception], graph: CompiledGraph, keep: Keep | None = None
) -> Iterator[NDArray[np.float32] | str]:
    """Yields the features of image files, in order, with a network cached in this process.

    Args:
        contents: the contents of the files; an exception for a file that could not be read.
        graph: the backbone.
        keep: called with a thumbnail of each image, or None for a rejected file, before its
            features are yielded.

    Yields:
        float32 of shape (graph.dimension,), or the reason for a rejection.
    """
    return featurize_with(load(graph), contents, graph, keep)


def featurize_with(
    network: Network,
    contents: Iterable[bytes | Exception],
    graph: CompiledGraph,
    keep: Keep | None = None,
) -> Iterator[NDArray[np.float32] | str]:
    """Like :func:`featurize`, with a network from :func:`compiled_network`."""
    stream = iter(contents)
    while group := list(islice(stream, max(GROUP, graph.batch))):
        pixels = np.zeros((len(group), graph.input.height, graph.input.width, 3), np.uint8)
        reasons: list[str | None] = [None] * len(group)
        for row, content in enumerate(group):
            picture = None
            try:
                if isinstance(content, Exception):
                    raise rejection(content)
                pixels[row] = decode(content, graph.input, graph.exact_decode)
                # The thumbnail restores the proportions only if the image was squashed.
                squashed = graph.input.resize == "squash" and not graph.input.crop
                whole = content if squashed else b""
                picture = thumbnail(pixels[row], whole) if keep else None
            except RejectedImage as rejected:
                reasons[row] = str(rejected)
            if keep:
                keep(picture)
        features = network(pixels)
        finite = np.all(np.isfinite(features), axis=1, keepdims=True)[:, 0]
        for row, reason in enumerate(reasons):
            if reason is None and not finite[row]:
                reason = "no features: the network gave values that are not finite"
            yield features[row] if reason is None else reason


def load(graph: CompiledGraph) -> Network:
    """The network of a graph, compiled for this machine and cached for the next task.

    Returns:
        A function from uint8 of shape (n, height, width, 3) to float32 of shape (n, dimension).

    Raises:
        BackboneError: the graph has operations that no network needs, does not match its
            description, or needs a precision that this processor does not have.
    """
    return _loaded_network(graph)[0]


def what_ran(graph: CompiledGraph) -> str:
    """What computes the features of a graph in this process: engine, precision, instructions.

    If this is equal, for example ``openvino 2026.4.1 f32 avx512``, features of one graph have the
    same bits.
    """
    return _loaded_network(graph)[1]


def compiled_network(graph: CompiledGraph, one_by_one: bool = False) -> tuple[Network, str]:
    """Compiles a network that is not cached, and describes how it runs, see :func:`what_ran`.

    Only one thread may use it at a time.

    Args:
        graph: the backbone.
        one_by_one: whether single images are frequent: then a second network for one image avoids
            padding, if its features have the same bits.

    Raises:
        BackboneError: see :func:`load`.
    """
    network, ran = _LOADERS[graph.engine](graph)
    alone = None
    if one_by_one and graph.engine == "openvino" and graph.batch > 1:
        alone = network_for_one(graph, network, task_threads())
    return _in_batches(network, graph.batch, alone), ran


def _loaded_network(graph: CompiledGraph) -> tuple[Network, str]:
    key = (graph.digest, graph.precision)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = compiled_network(graph)
        # PySpark collects garbage after each task and would scan all loaded modules each time,
        # which takes 80 ms.
        gc.freeze()
    return _loaded[key]


_loaded: dict[tuple[str, ...], tuple[Network, str]] = {}


def _in_batches(network: Network, size: int, alone: Network | None = None) -> Network:
    """Makes a network for any number of images from one with a fixed batch size.

    Args:
        network: takes ``size`` images.
        size: the batch size.
        alone: takes one image and gives the same features; used if one image is left over.
    """

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if alone and len(pixels) % size == 1:
            full = run(pixels[:-1]) if len(pixels) > 1 else None
            last = alone(pixels[-1:])
            return last if full is None else np.concatenate([full, last])
        padding = np.zeros((-len(pixels) % size, *pixels.shape[1:]), np.uint8)
        padded = np.concatenate([pixels, padding]) if len(padding) else pixels
        batches = [network(padded[n : n + size]) for n in range(0, len(padded), size)]
        return np.concatenate(batches)[: len(pixels)]

    return run


def _openvino(graph: CompiledGraph) -> tuple[Network, str]:
    import openvino

    xml, constants = graph.parts["graph.xml"], graph.parts["graph.bin"]
    require_safe_openvino(xml, constants)
    if graph.precision == "bf16":
        processor.require_bfloat16(processor.openvino_precisions())
    model = openvino.Core().read_model(model=xml, weights=constants)
    _require_shapes(graph, tuple(model.input(0).shape), tuple(model.output(0).shape))
    compiled = compile_openvino(model, graph.precision, task_threads())
    return network_of(compiled), processor.openvino_ran(compiled)


def _tensorflow(graph: CompiledGraph) -> tuple[Network, str]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

    if graph.precision == "bf16":
        processor.require_bfloat16(processor.tensorflow_precisions())
    definition = tf.compat.v1.GraphDef.FromString(graph.parts["graph.pb"])
    require_safe_tensorflow(definition)
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(definition, name="")
    _require_shapes(
        graph,
        tuple(imported.get_tensor_by_name("pixels:0").shape),
        tuple(imported.get_tensor_by_name("features:0").shape),
    )
    # A session has its own threads and precision; tf.config would change the whole process.
    options = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=task_threads(),
        inter_op_parallelism_threads=1,
        use_per_session_threads=True,
    )
    if graph.precision == "bf16":
        rewrites = options.graph_options.rewrite_options
        rewrites.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
    session = tf.compat.v1.Session(graph=imported, config=options)
    run: Network = session.make_callable("features:0", ["pixels:0"])
    return run, f"tensorflow {tf.__version__} {graph.precision} {processor.instructions()}"


_LOADERS: dict[str, Callable[[CompiledGraph], tuple[Network, str]]] = {
    "openvino": _openvino,
    "tensorflow": _tensorflow,
}


def _require_shapes(
    graph: CompiledGraph, pixels: tuple[int, ...], features: tuple[int, ...]
) -> None:
    height, width = graph.input.height, graph.input.width
    wanted = (graph.batch, height, width, 3), (graph.batch, graph.dimension)
    if (pixels, features) != wanted:
        raise BackboneError(
            f"wanted a compiled graph from {wanted[0]} to {wanted[1]}; got one from {pixels} to "
            f"{features}: delete it, so that it is compiled again"
        )


def task_threads() -> int:
    """The threads of one network; Spark sets this variable to the cores of a task."""
    return int(os.environ.get("OMP_NUM_THREADS") or 1)
