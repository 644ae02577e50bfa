"""Translates Hugging Face's ``preprocessor_config.json`` and ``config.json`` to ``input.json``.

The supported processors resize, crop the centre, rescale and normalise, in this order. Others are
refused, because they may do anything. A ``processor_config.json``, for images and texts, has the
same fields in its part ``image_processor``.
"""

from collections.abc import Mapping
from typing import Any

from fruits.errors import BackboneError

SQUARE, SHORTEST = "square", "shortest edge"


# Names of processors without their suffix, and the meaning of a plain number as their size.
PROCESSORS = {
    "Beit": SQUARE,
    "Bit": SHORTEST,
    "Blip": SQUARE,
    "ChineseCLIP": SHORTEST,
    "CLIP": SHORTEST,
    "ConvNext": SHORTEST,
    "DeiT": SQUARE,
    "DINOv3ViT": SQUARE,
    "EfficientNet": SQUARE,
    "Levit": SHORTEST,
    "MobileNetV1": SHORTEST,
    "MobileNetV2": SHORTEST,
    "MobileViT": SHORTEST,
    "PoolFormer": SHORTEST,
    "Pvt": SQUARE,
    "RTDetr": SQUARE,
    "Segformer": SQUARE,
    "Siglip": SQUARE,
    "Tipsv2": SQUARE,
    "ViT": SQUARE,
}


_SUFFIXES = ("ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor")


# The indices are Pillow's numbers.
_RESAMPLES = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")


# The supported steps; any other step would change the pixels.
_DONE = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
_HARMLESS = ("do_convert_annotations", "do_reduce_labels")


# These processors crop the centre unless their file disables it, so the file must say so.
_CROPPING = (
    *("Bit", "ChineseCLIP", "CLIP", "DeiT", "Levit", "MobileNetV1", "MobileNetV2", "MobileViT"),
    "PoolFormer",
)


# From 384 pixels on, ConvNeXt's processor squashes the image instead of cropping it.
_CONVNEXT_SQUASHED = 384


def preprocessing(
    config: Mapping[str, Any], file: str = "preprocessor_config.json"
) -> dict[str, Any]:
    """Translates a ``preprocessor_config.json``.

    Args:
        config: the content, or the part ``image_processor`` of a ``processor_config.json``.
        file: the name of the file, for messages.

    Raises:
        BackboneError: it has a processor or a step that is not supported.
    """
    try:
        return _preprocessing(config)
    except BackboneError as error:
        raise BackboneError(f"{file} has {error}") from None


def _preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    name = _processor(config)
    steps = [key for key, value in config.items() if key.startswith("do_") and value]
    flips = ("do_flip_channel_order",) if name == "MobileViT" else ()
    if unknown := sorted(set(steps) - {*_DONE, *_HARMLESS, *flips}):
        raise BackboneError(f"a step that is not supported: {unknown[0]}")
    if not config.get("do_resize"):
        raise BackboneError("no resizing (do_resize), but a network takes images of one size")
    resample = _wanted(config, "resample")
    if type(resample) is not int or not 0 <= resample < len(_RESAMPLES):
        raise BackboneError(f"resample {resample!r}")
    if name == "DINOv3ViT" and _RESAMPLES[resample] not in ("nearest", "bilinear"):
        # It resizes fractions, and sharper filters leave the range of the values.
        raise BackboneError(
            f"resample {resample}, which gives its processor values below 0 and above 1"
        )
    said = _shape(name, config) | {"interpolation": _RESAMPLES[resample], "layout": "NCHW"}
    # All these processors rescale by this factor unless the file says otherwise.
    rescaled = config.get("do_rescale", True)
    said["rescale"] = config.get("rescale_factor", 1 / 255) if rescaled else 1
    said |= {"mean": [0.0] * 3, "std": [1.0] * 3}
    if _wanted(config, "do_normalize") if name != "MobileViT" else config.get("do_normalize"):
        said |= {name: _three(config, f"image_{name}") for name in ("mean", "std")}
    if name == "EfficientNet":
        said |= _twice_normalised(said, config)
    flipped = config.get("do_flip_channel_order", name == "MobileViT")
    if flipped:
        # The processor reverses the channels last, but the graph reverses them first.
        said |= {name: said[name][::-1] for name in ("mean", "std")}
    return said | {"channels": "BGR" if flipped else "RGB"}


def widths(config: Mapping[str, Any]) -> tuple[set[int], set[int]]:
    """The numbers of features and of classes that a ``config.json`` names."""
    parts = [config, *(part for part in config.values() if isinstance(part, Mapping))]
    features = [part.get(key) for part in parts for key in ("hidden_size", "projection_dim")]
    # Networks with stages have their features in the last stage.
    stages = [part.get("hidden_sizes") for part in parts]
    features += [sizes[-1] for sizes in stages if isinstance(sizes, list) and sizes]
    classes = [part.get("num_labels") for part in parts]
    classes += [len(part["id2label"]) for part in parts if isinstance(part.get("id2label"), dict)]
    return _numbers(features), _numbers(classes)


def _processor(config: Mapping[str, Any]) -> str:
    if "auto_map" in config:
        raise BackboneError("code of the repository (auto_map), which is not run")
    given = config.get("image_processor_type", config.get("feature_extractor_type"))
    if not isinstance(given, str):
        raise BackboneError("no image_processor_type")
    suffix = next((one for one in _SUFFIXES if given.endswith(one)), "")
    name = given.removesuffix(suffix)
    if not suffix or name not in PROCESSORS:
        raise BackboneError(f"{given}, which may do more than resize, crop, rescale and normalise")
    return name


def _shape(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Height, width, resize and edge."""
    size = _wanted(config, "size")
    if type(size) is int:
        square = PROCESSORS[name] == SQUARE
        size = {"height": size, "width": size} if square else {"shortest_edge": size}
    if not isinstance(size, Mapping):
        raise BackboneError(f"size {size!r}")
    size = {key: value for key, value in size.items() if value is not None}
    if name == "ConvNext":
        return _convnext(size, config)
    size = _enlarged(name, size, config)
    crops = _wanted(config, "do_center_crop") if name in _CROPPING else config.get("do_center_crop")
    crop = _crop(config) if crops else None
    if crop and name == "RTDetr":
        raise BackboneError("do_center_crop, which its processor does not support")
    if set(size) == {"height", "width"}:
        whole = {"height": size["height"], "width": size["width"], "resize": "squash"}
        if crop in (None, (size["height"], size["width"])):
            return whole
        if size["height"] != size["width"]:
            raise BackboneError(f"a crop out of {size['height']} x {size['width']} pixels")
        return {"height": crop[0], "width": crop[1], "resize": "squash", "edge": size["height"]}
    if set(size) == {"shortest_edge"} and crop:
        return {
            "height": crop[0],
            "width": crop[1],
            "resize": "shortest_edge",
            "edge": size["shortest_edge"],
        }
    raise BackboneError(f"size {size} without a crop, which gives images of many shapes")


def _enlarged(name: str, size: Mapping[str, Any], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The size that a processor resizes to, which is larger than the one in its file."""
    edge = size.get("shortest_edge")
    if name == "Levit" and type(edge) is int:
        return {"shortest_edge": int(256 / 224 * edge)}
    if name != "PoolFormer" or config.get("crop_pct", 0) is None:
        return size
    share = _share(config)
    larger = {key: int(side / share) for key, side in size.items() if type(side) is int}
    if set(larger) == {"height", "width"} and size["height"] == size["width"]:
        return {"shortest_edge": larger["height"]}
    return larger


def _crop(config: Mapping[str, Any]) -> tuple[Any, Any]:
    crop = _wanted(config, "crop_size")
    if isinstance(crop, Mapping) and {"height", "width"} <= set(crop):
        return crop["height"], crop["width"]
    return crop, crop


def _convnext(size: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    edge = size.get("shortest_edge")
    if type(edge) is not int:
        raise BackboneError(f"size {dict(size)}")
    if config.get("do_center_crop") and _crop(config) != (edge, edge):
        raise BackboneError("a second crop")
    if edge >= _CONVNEXT_SQUASHED:
        return {"height": edge, "width": edge, "resize": "squash"}
    return {
        "height": edge,
        "width": edge,
        "resize": "shortest_edge",
        "edge": int(edge / _share(config)),
    }


def _share(config: Mapping[str, Any]) -> float:
    share = _wanted(config, "crop_pct")
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise BackboneError(f"crop_pct {share!r}")
    return share


def _twice_normalised(said: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and std of EfficientNet's processor, which may subtract 1 and divide a second time."""
    mean, std = said["mean"], said["std"]
    if config.get("rescale_offset") and config.get("do_rescale", True):
        mean = [value + 1 for value in mean]
    if config.get("include_top", True):
        std = [a * b for a, b in zip(std, _three(config, "image_std"), strict=True)]
    return {"mean": mean, "std": std}


def _wanted(config: Mapping[str, Any], name: str) -> Any:
    if config.get(name) is None:
        raise BackboneError(f"no {name}")
    return config[name]


def _three(config: Mapping[str, Any], name: str) -> list[float]:
    """Three numbers, one for each channel; the processors take one number for all of them."""
    values = _wanted(config, name)
    values = [values] * 3 if isinstance(values, int | float) else values
    if not isinstance(values, list) or len(values) != 3 or not all(map(_is_number, values)):
        raise BackboneError(f"{name} {values!r}; wanted three numbers")
    return values


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _numbers(values: list[Any]) -> set[int]:
    return {value for value in values if type(value) is int and value > 0}
