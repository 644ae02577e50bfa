"""Converts a Keras 3 archive of any architecture to an OpenVINO model, without running its code."""

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fruits.errors import BackboneError, one_line
from fruits.networks.traced import as_openvino
from fruits.networks.weights_file import extract_weights, require_self_contained

# Modules whose objects only compute. Others download files, load archives, or change settings.
_MODULES = re.compile(
    r"builtins|keras(\.src)?(\.(layers|models|ops|initializers|regularizers|constraints|activations"
    r"|optimizers|losses|metrics|quantizers|dtype_policies|random)(\.\w+)*)?"
)


# Classes that run code of the archive, or read other files and networks.
_REFUSED = (
    *("Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer", "function"),
    *("StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing"),
)


_MOST_CONFIG = 16 << 20


def converted(path: Path, output: str | None) -> Any:
    """Converts the network in an archive.

    Args:
        path: the path of the ``.keras`` file.
        output: the name of the layer with the wanted output; None raises an error with the names.

    Returns:
        An ``openvino.Model`` from float32 (n, height, width, 3) with only the wanted output.

    Raises:
        BackboneError: the archive is damaged, has custom code or layers, or lacks the layer, or
            OpenVINO lacks one of its operations.
    """
    _require_harmless(path)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        inputs = model.inputs
    except Exception as error:  # Damaged files raise nearly anything.
        raise BackboneError(f"Keras cannot read {path.name}: {one_line(error)[:300]}") from error
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise BackboneError(f"wanted a network whose only input is an image; got {names}")
    try:
        return _openvino(_ending_at(model, output))
    except BackboneError:
        raise
    except Exception as error:  # Keras, TensorFlow and OpenVINO raise different ones.
        raise BackboneError(
            f"{path.name} cannot be converted to OpenVINO up to the layer {output}: "
            f"{one_line(error)[:300]}: name an earlier layer as output, or export the network as "
            "an ONNX file or an OpenVINO IR"
        ) from error


def _ending_at(model: Any, output: str | None) -> Any:
    """The model up to a layer."""
    import keras

    if output is None:
        last = model.layers[-1]
        before = model.layers[-2].name if len(model.layers) > 1 else last.name
        raise BackboneError(
            f"wanted the name of the layer with the features; the last layers are {before} "
            f'and {last.name}: write into input.json {{"output": "{before}"}}'
        )
    try:
        layer = model.get_layer(output)
    except ValueError:
        names = ", ".join(layer.name for layer in model.layers[-5:])
        raise BackboneError(f"wanted the layer {output}; the last ones are {names}") from None
    # If the layer is a network itself, `layer.output` is inside of it, and not connected with the
    # inputs of the outer network.
    return keras.Model(model.inputs, layer._inbound_nodes[0].output_tensors)


def _openvino(model: Any) -> Any:
    import tensorflow as tf

    def features(pixels: Any) -> Any:
        return model(pixels, training=False)

    signature = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32, name="pixels")
    return as_openvino(tf.function(features, autograph=False).get_concrete_function(signature))


def _require_harmless(path: Path) -> None:
    """Checks an archive before Keras reads it.

    Raises:
        BackboneError: it has code, refers to other files, or expands too much.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _MOST_CONFIG:
                raise ValueError("a description of more than 16 MiB")
            names = set(archive.namelist())
            if extra := names - {"config.json", "metadata.json", "model.weights.h5"}:
                raise ValueError(f"the file {min(extra)}, which weights do not need")
            config = json.loads(archive.read("config.json"))
        _require_own_weights(path)
        for part in _objects(config):
            _require_known(part)
    except BackboneError:
        raise
    except Exception as error:  # Damaged archives raise nearly anything.
        raise BackboneError(
            f"wanted a Keras 3 archive; {path.name} has {one_line(error)}"
        ) from error


def _require_own_weights(path: Path) -> None:
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.symlink_to(path.absolute())
        with h5py.File(extract_weights(copy), "r") as file:
            require_self_contained(file)


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    """Yields all descriptions of objects in a configuration."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _require_known(part: dict[str, Any]) -> None:
    kind = part.get("class_name")
    if not isinstance(kind, str):
        return
    module, registered = part.get("module"), part.get("registered_name")
    own = not _MODULES.fullmatch(str(module)) or not kind.isidentifier()
    # Keras writes no module for its internal values, such as tensors and types.
    internal = kind.startswith("__") or kind in ("DTypePolicy",)
    named = isinstance(registered, str) and ">" in registered
    if kind in _REFUSED or kind == "__lambda__" or named or (own and not internal):
        raise BackboneError(
            f"wanted a network of Keras' own layers; got {one_line(kind)} of "
            f"{one_line(registered or module or 'nobody')}, which would run code of the archive: "
            "export it as an ONNX file or an OpenVINO IR"
        )
