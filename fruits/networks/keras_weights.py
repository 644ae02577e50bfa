"""``imagenet``, ``random``, a path or a URI -> the weights of a Keras model.

A file is a Keras weights file (``.weights.h5``, ``.h5``) or a whole model (``.keras``, ``.h5``),
with or without the top, or a model of yours with the backbone inside.
"""

import hashlib
import posixpath
import re
import shutil
import socket
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fruits.errors import BackboneError, one_line
from fruits.storage.failures import store_errors
from fruits.storage.files import sha256_of
from fruits.storage.location import filesystem_of

SUFFIXES = (".h5", ".keras")


RANDOM_SEED = 0


IMAGENET_DEVIATIONS = (0.229, 0.224, 0.225)


# Seconds of silence after which a download is given up.
PATIENCE = 10


def identity(weights: str) -> str:
    """What tells these weights from others, found without Keras: a file's SHA-256, or the word.

    Raises:
        BackboneError: when the file is missing, cannot be read or is of another kind.
    """
    if weights in ("imagenet", "random"):
        return weights
    with _read_errors(weights):
        return sha256_of(weights)


@contextmanager
def _read_errors(weights: str) -> Iterator[None]:
    if not weights.lower().endswith(SUFFIXES):
        raise BackboneError(
            f"weights: wanted imagenet, random, or a Keras file that ends in "
            f"{' or '.join(SUFFIXES)}; got {weights!r}"
        )
    try:
        with store_errors(weights):
            yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {one_line(error)}"
        raise BackboneError(
            f"weights: wanted a Keras weights or model file; {weights} cannot be read: {reason}; "
            "give the path or URI of one, or imagenet, or random"
        ) from None


def weighted(
    name: str,
    build: Callable[[str | None], Any],
    preprocess: Callable[[Any], Any],
    weights: str,
) -> tuple[Any, str]:
    """A backbone's Keras model with its weights, and their SHA-256.

    Args:
        name: of the backbone, for messages.
        build: makes the model; takes ``"imagenet"`` or ``None``.
        preprocess: the network's own, of pixels from 0 to 255.
        weights: ``"imagenet"``, ``"random"``, or a path or URI.

    Raises:
        BackboneError: when the weights are out of reach or do not fit.
    """
    if weights == "imagenet":
        with _downloads(name) as files:
            model = build("imagenet")
        return model, sha256_of(files[-1]) if files else _digest(model)
    if weights == "random":
        model = _random(build, preprocess)
        return model, _digest(model)
    with _local_copy(weights) as path:
        sha256 = identity(str(path))
        model = build(None)
        _fill(name, model, path, weights)
    return model, sha256


@contextmanager
def _downloads(name: str) -> Iterator[list[str]]:
    """Lets Keras download, but gives up a silent server in seconds; yields the files' paths."""
    from keras.src.utils import file_utils

    files: list[str] = []
    fetch, timeout = file_utils.get_file, socket.getdefaulttimeout()

    def get_file(fname: str, origin: str, cache_subdir: str, **options: Any) -> str:
        path = Path(file_utils.config.keras_home(), cache_subdir, fname).expanduser()
        file_hash = options.get("file_hash")
        if not path.exists() or (file_hash and not file_utils.validate_file(path, file_hash)):
            _require_answer(origin)
            path.parent.mkdir(parents=True, exist_ok=True)
            # A download that is killed must not pass for a whole file the next time.
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                Path(fetch(fname, origin, cache_dir=folder, cache_subdir="", **options)).replace(
                    path
                )
        files.append(str(path))
        return files[-1]

    file_utils.get_file = get_file
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield files
    except BackboneError:
        raise
    except Exception as error:  # Keras raises a bare Exception for what its download met.
        what = f"{files[-1]} does not load (delete it)" if files else "Keras' download failed"
        raise BackboneError(
            f"weights: wanted the ImageNet weights of {name}, but {what}: {one_line(error)}; "
            "give the path of a Keras weights file, or backbone EfficientNetLite0, whose weights "
            "are installed already, or weights random for a trial"
        ) from error
    finally:
        file_utils.get_file = fetch
        socket.setdefaulttimeout(timeout)


def _require_answer(url: str) -> None:
    """Raises OSError unless the server of ``url`` answers within PATIENCE seconds.

    In a thread of its own, since a look-up of a name knows no timeout.
    """
    outcome: list[Exception] = [TimeoutError(f"{url}: no answer within {PATIENCE} s")]

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=PATIENCE).close()
            outcome.clear()
        except Exception as error:
            outcome[:] = [OSError(f"{url}: {error}")]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if outcome:
        raise outcome[0]


def _random(build: Callable[[str | None], Any], preprocess: Callable[[Any], Any]) -> Any:
    """Seeded weights, with batch-norm statistics that keep features of order one.

    Without them the activations of a deep untrained network fade to nothing. Each layer gets one
    variance for all its channels, rounded, so that the weights hardly depend on the machine.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(RANDOM_SEED)
    tf.config.experimental.enable_op_determinism()
    model = build(None)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.call = _calibrating(norm)
    # Smooth pictures, as photographs are: networks answer noise by far more.
    coarse = np.random.default_rng(RANDOM_SEED).integers(0, 256, (4, 6, 6, 3), np.uint8)
    size = model.input_shape[1:3]
    pixels = np.stack([np.asarray(Image.fromarray(few).resize(size)) for few in coarse])
    model(preprocess(tf.constant(pixels, tf.float32)), training=False)
    for norm in norms:
        del norm.call
    return model


def _calibrating(norm: Any) -> Callable[..., Any]:
    """A batch normalisation's call that first sets its variance to that of its input."""
    call = norm.call

    def calibrating_call(inputs: Any, **options: Any) -> Any:
        # Of a typical image: gated networks magnify the differences between images.
        variance = float(f"{np.exp(np.mean(np.log(np.mean(np.square(inputs), (1, 2, 3))))):.1e}")
        norm.moving_variance.assign(np.full(norm.moving_variance.shape, variance))
        return call(inputs, **options)

    return calibrating_call


def _digest(model: Any) -> str:
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(variable.numpy().astype("<f4").tobytes())
    return digest.hexdigest()


@contextmanager
def _local_copy(uri: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        with _read_errors(uri):
            filesystem, path = filesystem_of(uri)
            copy = Path(folder) / posixpath.basename(path)
            with filesystem.open(path, "rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
        yield copy


def _fill(name: str, model: Any, path: Path, uri: str) -> None:
    """Sets the model's weights to those in a file, wherever they stand in it.

    Raises:
        BackboneError: when the file does not hold a weight for each variable of the model.
    """
    import h5py

    try:
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                path = Path(archive.extract("model.weights.h5", path.parent))
        with h5py.File(path, "r") as file:
            # Files of Keras 2 list their layers in an attribute; those of Keras 3 are trees.
            layers = _listed_layers(file) or _listed_layers(file.get("model_weights", {}))
            found = _fill_from_list(model, layers) or _fill_from_tree(model, file, path.parent)
    except Exception as error:  # Damaged files raise nearly anything.
        raise BackboneError(
            f"weights: wanted a Keras weights or model file, but {uri} is another or damaged: "
            f"{one_line(error)}; give a file that Keras has written"
        ) from error
    if not found:
        first = model.weights[0]
        raise BackboneError(
            f"weights: {uri} does not fit {name}: wanted {len(model.weights)} arrays, the first "
            f"{first.path} of shape {tuple(first.shape)}, but they are not all there; "
            f"name the backbone that the file belongs to, or give a file of {name}"
        )
    for layer in model.layers:
        if hasattr(layer, "adapt_variance"):
            _settle_normalization(layer)


def _settle_normalization(layer: Any) -> None:
    """Makes a Normalization apply the statistics that it was given.

    EfficientNet's ImageNet files, and all models that began with them, hold standard deviations in
    place of variances; Keras makes up for it with one more layer, which is not in the model here.
    """
    if np.allclose(layer.adapt_variance, IMAGENET_DEVIATIONS, atol=1e-4):
        layer.adapt_variance.assign(np.square(layer.adapt_variance))
    layer.finalize_state()


Arrays = dict[str, np.ndarray[Any, Any]]


def _listed_layers(group: Any) -> list[Arrays]:
    """For each layer of a legacy file the arrays by name; none for other files."""
    from keras.src.legacy.saving.legacy_h5_format import load_attributes_from_hdf5_group as names

    if not hasattr(group, "attrs"):
        return []
    layers = [group[layer] for layer in names(group, "layer_names")]
    return [
        {name: np.asarray(layer[name]) for name in names(layer, "weight_names")} for layer in layers
    ]


def _fill_from_list(model: Any, layers: Sequence[Arrays]) -> bool:
    """Finds the model's variables as a run among the arrays: a top follows, a stem may precede."""
    arrays = [array for layer in layers for array in layer.values()]
    # A model inside another was written with its trainable variables first.
    for order in (model.weights, [*model.trainable_weights, *model.non_trainable_weights]):
        wanted = [tuple(variable.shape) for variable in order]
        shapes = [array.shape for array in arrays]
        for start in range(len(arrays) - len(wanted) + 1):
            if shapes[start : start + len(wanted)] == wanted:
                _assign(order, arrays[start : start + len(wanted)])
                return True
    return any(_fill_by_name(model, layer) for layer in layers)


def _fill_by_name(model: Any, arrays: Arrays) -> bool:
    """Finds the variables of a model that was partly frozen inside another: any order is possible.

    What is left over may be the top. Convolutions that are left over tell of a larger network,
    which has layers of the same names.
    """
    theirs = dict(zip(_keys(arrays), arrays.values(), strict=True))
    ours = dict(zip(_keys(v.path for v in model.weights), model.weights, strict=True))
    found = [theirs.pop(key, None) for key in ours]
    if any(
        array is None or array.shape != tuple(variable.shape)
        for array, variable in zip(found, ours.values(), strict=True)
    ) or any(array.ndim > 2 for array in theirs.values()):
        return False
    _assign(ours.values(), found)
    return True


def _keys(names: Iterable[str]) -> list[tuple[str, int, str]]:
    """What identifies each variable: its layer without number, the number's rank, its own name.

    Layers without a name of their own are counted through a session: conv2d_94 in one may be
    conv2d in another.
    """
    parts = []
    for name in names:
        layer, _, variable = name.partition(":")[0].rpartition("/")
        layer = layer.rpartition("/")[2]
        stem = re.sub(r"_\d+$", "", layer)
        number = layer.removeprefix(stem).removeprefix("_")
        parts.append((stem, int(number or 0), variable.removeprefix("depthwise_")))
    ranks = {stem: sorted({n for s, n, _ in parts if s == stem}) for stem, _, _ in parts}
    return [(stem, ranks[stem].index(number), variable) for stem, number, variable in parts]


def _assign(variables: Iterable[Any], arrays: Iterable[Any]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _fill_from_tree(model: Any, file: Any, folder: Path) -> bool:
    """Finds the branch of a Keras 3 file that has the model's own structure, and loads it."""
    import h5py

    own = folder / "own.weights.h5"
    model.save_weights(own)
    with h5py.File(own, "r+") as target:
        shapes = _shapes(target)
        theirs = _shapes(file)
        first = next(iter(shapes))
        branches = [path.removesuffix(first) for path in theirs if path.endswith(first)]
        for branch in branches:
            if all(theirs.get(branch + path) == shape for path, shape in shapes.items()):
                for path in shapes:
                    target[path][...] = file[branch + path][...]
                break
        else:
            return False
    model.load_weights(own)
    return True


def _shapes(file: Any) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    file.visititems(
        lambda path, item: shapes.update({path: item.shape}) if hasattr(item, "shape") else None
    )
    return shapes
