"""Loads the weights of a Keras model: ``imagenet``, ``random``, or a file.

A file is a Keras weights file (``.weights.h5``, ``.h5``) or a whole model (``.keras``, ``.h5``),
with or without the top, or a custom model that contains the backbone.
"""

import hashlib
import posixpath
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fruits.errors import BackboneError, one_line
from fruits.networks import download
from fruits.networks.random_weights import random_model
from fruits.networks.weights_file import (
    extract_weights,
    names_in,
    require_self_contained,
    values,
)
from fruits.storage.failures import store_errors
from fruits.storage.files import sha256_of
from fruits.storage.location import Location, filesystem_of

SUFFIXES = (".h5", ".keras")


IMAGENET_DEVIATIONS = (0.229, 0.224, 0.225)


def identity(weights: str) -> str:
    """The identity of these weights, found without Keras: the SHA-256 of a file, or the name.

    Raises:
        BackboneError: the file is missing, cannot be read, or is of another kind.
    """
    if weights in ("imagenet", "random"):
        return weights
    with weights_errors(weights):
        return sha256_of(Location.of(weights))


@contextmanager
def weights_errors(weights: str) -> Iterator[None]:
    """Replaces errors of reading a weights file with one line.

    Raises:
        BackboneError: the file is missing, cannot be read, or is of another kind.
    """
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
            f"weights: wanted a Keras weights or model file; {weights} cannot be read ({reason}): "
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
        name: the name of the backbone, for messages.
        build: makes the model; takes ``"imagenet"`` or ``None``.
        preprocess: the preprocessing of the network, for pixels from 0 to 255.
        weights: ``"imagenet"``, ``"random"``, or a path or URI.

    Raises:
        BackboneError: the weights cannot be found or do not fit.
    """
    if weights == "imagenet":
        return _imagenet(name, build)
    if weights == "random":
        model = random_model(build, preprocess)
        return model, _digest(model)
    with _local_copy(weights) as path:
        sha256 = identity(str(path))
        model = build(None)
        _fill(name, model, path, weights)
    return model, sha256


def _imagenet(name: str, build: Callable[[str | None], Any]) -> tuple[Any, str]:
    """Keras' ImageNet weights, downloaded to where Keras looks for them."""
    file = download.IMAGENET.get(name)
    path = file.path() if file else None
    try:
        if file and path and not file.is_whole(path):
            download.fetch(file, path)
        model = build("imagenet")
    except BackboneError:
        raise
    except Exception as error:  # A download fails in many ways, and h5py raises nearly anything.
        there = path is not None and path.exists()
        what = f"{path} does not load (delete it)" if there else "their download failed"
        raise BackboneError(
            f"weights: wanted the ImageNet weights of {name}, but {what}: {one_line(error)}; "
            "give the path of a Keras weights file, or use backbone EfficientNetLite0, whose "
            "weights are already installed, or weights random for a trial"
        ) from error
    return model, sha256_of(Location.of(str(path))) if path else _digest(model)


def _digest(model: Any) -> str:
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(variable.numpy().astype("<f4").tobytes())
    return digest.hexdigest()


@contextmanager
def _local_copy(uri: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        with weights_errors(uri):
            filesystem, path = filesystem_of(uri)
            copy = Path(folder) / posixpath.basename(path)
            with filesystem.open(path, "rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
        yield copy


def _fill(name: str, model: Any, path: Path, uri: str) -> None:
    """Sets the model's weights to those in a file, at any position in it.

    Raises:
        BackboneError: the file does not have weights for all variables of the model.
    """
    import h5py

    try:
        if path.suffix.lower() == ".keras":
            path = extract_weights(path)
        with h5py.File(path, "r") as file:
            require_self_contained(file)
            # Keras 2 lists the layers in an attribute; files of Keras 3 are trees.
            layers = _listed_layers(file) or _listed_layers(file.get("model_weights", {}))
            found = _fill_from_list(model, layers) or _fill_from_tree(model, file, path.parent)
    except Exception as error:  # Damaged files raise nearly anything.
        raise BackboneError(
            f"weights: wanted a Keras weights or model file; {uri} is another file or damaged "
            f"({one_line(error)}): give a file that Keras has written"
        ) from error
    if not found:
        first = model.weights[0]
        raise BackboneError(
            f"weights: {uri} does not fit {name}: wanted {len(model.weights)} arrays, the first "
            f"{first.path} of shape {tuple(first.shape)}, but some are missing: "
            f"choose the backbone that the file belongs to, or give a file of {name}"
        )
    for layer in model.layers:
        if hasattr(layer, "adapt_variance"):
            _settle_normalization(layer)


def _settle_normalization(layer: Any) -> None:
    """Makes a Normalization layer use the statistics that were loaded.

    EfficientNet's ImageNet files, and all models that started from them, have standard deviations
    instead of variances. Keras corrects that with one more layer, which this model does not have.
    """
    if np.allclose(layer.adapt_variance, IMAGENET_DEVIATIONS, atol=1e-4):
        layer.adapt_variance.assign(np.square(layer.adapt_variance))
    layer.finalize_state()


# The arrays of a layer by name; their values are not read yet.
Arrays = dict[str, Any]


def _listed_layers(group: Any) -> list[Arrays]:
    """The arrays of each layer of a legacy file; an empty list for other files."""
    if not hasattr(group, "attrs"):
        return []
    layers = [group[layer] for layer in names_in(group, "layer_names")]
    return [{name: layer[name] for name in names_in(layer, "weight_names")} for layer in layers]


def _fill_from_list(model: Any, layers: Sequence[Arrays]) -> bool:
    """Finds the model's variables as consecutive arrays, anywhere in the list."""
    arrays = [array for layer in layers for array in layer.values()]
    # Keras writes a nested model with its trainable variables first.
    for order in (model.weights, [*model.trainable_weights, *model.non_trainable_weights]):
        wanted = [tuple(variable.shape) for variable in order]
        shapes = [array.shape for array in arrays]
        for start in range(len(arrays) - len(wanted) + 1):
            if shapes[start : start + len(wanted)] == wanted:
                _assign(order, arrays[start : start + len(wanted)])
                return True
    return any(_fill_by_name(model, layer) for layer in layers)


def _fill_by_name(model: Any, arrays: Arrays) -> bool:
    """Finds the variables of a nested, partly frozen model, which may have any order.

    Remaining arrays may be the top. If they are convolutions, the file belongs to a larger network
    with layers of the same names.
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
    """The identity of each variable: its layer without number, the number's rank, its name.

    Keras numbers layers without names through a session: conv2d_94 in one session may be conv2d in
    another.
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
        variable.assign(values(array))


def _fill_from_tree(model: Any, file: Any, folder: Path) -> bool:
    """Finds the branch of a Keras 3 file with the structure of the model, and loads it."""
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
                    target[path][...] = values(file[branch + path])
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
