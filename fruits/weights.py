"""``imagenet``, ``random``, a path or a URI -> the weights of a Keras model.

A file is a Keras weights file (``.weights.h5``, ``.h5``) or a whole model (``.keras``, ``.h5``),
with or without the top, or a model of yours with the backbone inside.
"""

import hashlib
import posixpath
import shutil
import socket
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fruits.errors import BackboneError
from fruits.storage import filesystem_of, sha256_of, store_errors

SUFFIXES = (".h5", ".keras")
RANDOM_SEED = 0

# Seconds of silence after which a download is given up.
PATIENCE = 10


def identity(weights: str) -> str:
    """What tells these weights from others, found without Keras: a file's SHA-256, or the word.

    Raises:
        BackboneError: when the file is missing, cannot be read or is of another kind.
    """
    if weights in ("imagenet", "random"):
        return weights
    if not weights.lower().endswith(SUFFIXES):
        raise BackboneError(
            f"weights: wanted imagenet, random, or a Keras file that ends in "
            f"{' or '.join(SUFFIXES)}; got {weights!r}"
        )
    try:
        with store_errors(weights):
            return sha256_of(weights)
    except OSError as error:
        raise BackboneError(f"weights: {weights} cannot be read: {error}") from None


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
    model = build(None)
    with _local_copy(weights) as path:
        _fill(name, model, path, weights)
    return model, identity(weights)


@contextmanager
def _downloads(name: str) -> Iterator[list[str]]:
    """Lets Keras download, but gives up a silent server in seconds; yields the files' paths."""
    from keras.src.utils import file_utils

    files: list[str] = []
    fetch, timeout = file_utils.get_file, socket.getdefaulttimeout()

    def get_file(fname: str, origin: str, **options: Any) -> str:
        cached = Path(file_utils.config.keras_home(), options["cache_subdir"], fname)
        if not cached.exists():
            _require_answer(origin)
        files.append(fetch(fname, origin, **options))
        return files[-1]

    file_utils.get_file = get_file
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield files
    except BackboneError:
        raise
    except Exception as error:  # Keras raises a bare Exception for what its download met.
        raise BackboneError(
            f"weights: wanted the ImageNet weights of {name}, but Keras' download failed: {error}; "
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
    momentum = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    pixels = np.random.default_rng(RANDOM_SEED).uniform(0, 255, (4, *model.input_shape[1:]))
    model(preprocess(tf.constant(pixels, tf.float32)), training=True)
    for layer, value in zip(norms, momentum, strict=True):
        layer.momentum = value
        variance = float(np.mean(layer.moving_variance + layer.moving_mean**2))
        layer.moving_mean.assign(np.zeros(layer.moving_mean.shape))
        layer.moving_variance.assign(np.full(layer.moving_variance.shape, float(f"{variance:.1e}")))
    return model


def _digest(model: Any) -> str:
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(np.asarray(variable).astype("<f4").tobytes())
    return digest.hexdigest()


@contextmanager
def _local_copy(uri: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
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
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                path = Path(archive.extract("model.weights.h5", path.parent))
        with h5py.File(path, "r") as file:
            # Files of Keras 2 list their layers in an attribute; those of Keras 3 are trees.
            legacy = next((g for g in (file, file.get("model_weights")) if _is_legacy(g)), None)
            if legacy is not None:
                found = _fill_from_list(model, _arrays(legacy))
            else:
                found = _fill_from_tree(model, file, path.parent)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BackboneError(
            f"weights: {uri} is not a Keras file that can be read: {error}"
        ) from error
    if not found:
        first = model.weights[0]
        raise BackboneError(
            f"weights: {uri} does not fit {name}: wanted {len(model.weights)} arrays, the first "
            f"{first.path} of shape {tuple(first.shape)}, but they are not all there; "
            f"name the backbone that the file belongs to, or give a file of {name}"
        )


def _is_legacy(group: Any) -> bool:
    return group is not None and "layer_names" in group.attrs


def _arrays(group: Any) -> list[np.ndarray[Any, Any]]:
    layers = [group[layer] for layer in group.attrs["layer_names"]]
    return [np.asarray(layer[weight]) for layer in layers for weight in layer.attrs["weight_names"]]


def _fill_from_list(model: Any, arrays: Sequence[np.ndarray[Any, Any]]) -> bool:
    """Finds the model's variables as a run among the arrays: a top follows, a stem may precede."""
    # A model inside another was written with its trainable variables first.
    for order in (model.weights, [*model.trainable_weights, *model.non_trainable_weights]):
        wanted = [tuple(variable.shape) for variable in order]
        shapes = [array.shape for array in arrays]
        for start in range(len(arrays) - len(wanted) + 1):
            if shapes[start : start + len(wanted)] == wanted:
                for variable, array in zip(order, arrays[start:], strict=False):
                    variable.assign(array)
                return True
    return False


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
