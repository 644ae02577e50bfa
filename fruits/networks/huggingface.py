"""Hugging Face's ``preprocessor_config.json`` and ``config.json``, in the words of ``input.json``.

The processors that are known here resize, cut out the centre, rescale and normalise, in this order;
another one may do anything, so it is refused.
"""

from collections.abc import Mapping
from typing import Any

from fruits.errors import BackboneError

SQUARE, SHORTEST = "square", "shortest edge"


# Processors by name, without their suffix, and what a plain number as their size means.
PROCESSORS = {
    "Beit": SQUARE,
    "Bit": SHORTEST,
    "Blip": SQUARE,
    "ChineseCLIP": SHORTEST,
    "CLIP": SHORTEST,
    "ConvNext": SHORTEST,
    "DeiT": SQUARE,
    "MobileNetV1": SHORTEST,
    "MobileNetV2": SHORTEST,
    "MobileViT": SHORTEST,
    "Pvt": SQUARE,
    "Segformer": SQUARE,
    "Siglip": SQUARE,
    "ViT": SQUARE,
}


_SUFFIXES = ("ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor")


# The numbers are Pillow's.
_RESAMPLES = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")


# Whatever else a processor is asked to do would change the pixels.
_DONE = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
_HARMLESS = ("do_flip_channel_order", "do_reduce_labels")


# At 384 pixels and above, ConvNeXt's processor squeezes the image instead of cutting.
_CONVNEXT_SQUASHED = 384


def preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a ``preprocessor_config.json`` says.

    Raises:
        BackboneError: when it asks for a processor or a step that is not known here.
    """
    name = _processor(config)
    steps = [key for key, value in config.items() if key.startswith("do_") and value]
    if unknown := sorted(set(steps) - {*_DONE, *_HARMLESS}):
        raise _refused(f"a step that is not known here: {unknown[0]}")
    if not config.get("do_resize"):
        raise _refused("no resizing (do_resize), but a network takes images of one size")
    resample = _wanted(config, "resample")
    if type(resample) is not int or not 0 <= resample < len(_RESAMPLES):
        raise _refused(f"resample {resample!r}")
    said = _shape(name, config) | {"interpolation": _RESAMPLES[resample], "layout": "NCHW"}
    # Every one of these processors rescales, and by this factor, unless its file says otherwise.
    rescaled = config.get("do_rescale", True)
    said["rescale"] = config.get("rescale_factor", 1 / 255) if rescaled else 1
    said |= {"mean": [0.0] * 3, "std": [1.0] * 3}
    if _wanted(config, "do_normalize") if name != "MobileViT" else config.get("do_normalize"):
        said |= {name: _three(_wanted(config, f"image_{name}")) for name in ("mean", "std")}
    flipped = config.get("do_flip_channel_order", name == "MobileViT")
    if flipped:
        # The channels are turned round last; ours are turned first.
        said |= {name: said[name][::-1] for name in ("mean", "std")}
    return said | {"channels": "BGR" if flipped else "RGB"}


def widths(config: Mapping[str, Any]) -> tuple[set[int], set[int]]:
    """The numbers of features and of classes that a ``config.json`` names."""
    parts = [config, *(part for part in config.values() if isinstance(part, Mapping))]
    features = [part.get(key) for part in parts for key in ("hidden_size", "projection_dim")]
    # Networks of stages have their features in the last one.
    stages = [part.get("hidden_sizes") for part in parts]
    features += [sizes[-1] for sizes in stages if isinstance(sizes, list) and sizes]
    classes = [part.get("num_labels") for part in parts]
    classes += [len(part["id2label"]) for part in parts if isinstance(part.get("id2label"), dict)]
    return _numbers(features), _numbers(classes)


def _processor(config: Mapping[str, Any]) -> str:
    if "auto_map" in config:
        raise _refused("code of the repository (auto_map), which is not run")
    given = config.get("image_processor_type", config.get("feature_extractor_type"))
    if not isinstance(given, str):
        raise _refused("no image_processor_type")
    suffix = next((one for one in _SUFFIXES if given.endswith(one)), "")
    name = given.removesuffix(suffix)
    if not suffix or name not in PROCESSORS:
        raise _refused(f"{given}, which may do more than resize, crop, rescale and normalise")
    return name


def _shape(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Height, width, resize and edge."""
    size = _wanted(config, "size")
    if type(size) is int:
        square = PROCESSORS[name] == SQUARE
        size = {"height": size, "width": size} if square else {"shortest_edge": size}
    if not isinstance(size, Mapping):
        raise _refused(f"size {size!r}")
    size = {key: value for key, value in size.items() if value is not None}
    if name == "ConvNext":
        return _convnext(size, config)
    # MobileViT's processor and others cut out the centre unless a setting says not to.
    crop = _crop(config) if config.get("do_center_crop") else None
    if set(size) == {"height", "width"}:
        whole = {"height": size["height"], "width": size["width"], "resize": "squash"}
        if crop in (None, (size["height"], size["width"])):
            return whole
        if size["height"] != size["width"]:
            raise _refused(f"a crop out of {size['height']} x {size['width']} pixels")
        return {"height": crop[0], "width": crop[1], "resize": "squash", "edge": size["height"]}
    if set(size) == {"shortest_edge"} and crop:
        return {
            "height": crop[0],
            "width": crop[1],
            "resize": "shortest_edge",
            "edge": size["shortest_edge"],
        }
    raise _refused(f"size {size} without a crop, which gives images of many shapes")


def _crop(config: Mapping[str, Any]) -> tuple[Any, Any]:
    crop = _wanted(config, "crop_size")
    if isinstance(crop, Mapping) and {"height", "width"} <= set(crop):
        return crop["height"], crop["width"]
    return crop, crop


def _convnext(size: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    edge = size.get("shortest_edge")
    if type(edge) is not int:
        raise _refused(f"size {dict(size)}")
    if config.get("do_center_crop") and _crop(config) != (edge, edge):
        raise _refused("a second crop")
    if edge >= _CONVNEXT_SQUASHED:
        return {"height": edge, "width": edge, "resize": "squash"}
    share = _wanted(config, "crop_pct")
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise _refused(f"crop_pct {share!r}")
    return {
        "height": edge,
        "width": edge,
        "resize": "shortest_edge",
        "edge": int(edge / share),
    }


def _wanted(config: Mapping[str, Any], name: str) -> Any:
    if config.get(name) is None:
        raise _refused(f"no {name}")
    return config[name]


def _three(values: Any) -> Any:
    return [values] * 3 if isinstance(values, int | float) else values


def _numbers(values: list[Any]) -> set[int]:
    return {value for value in values if type(value) is int and value > 0}


def _refused(what: str) -> BackboneError:
    return BackboneError(f"preprocessor_config.json has {what}")
