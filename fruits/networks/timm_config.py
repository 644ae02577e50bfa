"""Translates timm's ``config.json`` to ``input.json``."""

import math
from collections.abc import Mapping
from typing import Any

from fruits.errors import BackboneError

_KEYS = ("input_size", "interpolation", "crop_pct", "mean", "std")


def is_timm(config: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is one of timm's."""
    return isinstance(config.get("pretrained_cfg"), Mapping) or {"input_size", "crop_pct"} <= set(
        config
    )


def preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    """Translates a ``config.json`` that has or is a ``pretrained_cfg``.

    Raises:
        BackboneError: a value is missing or not supported.
    """
    config = config.get("pretrained_cfg", config)
    if missing := [key for key in _KEYS if config.get(key) is None]:
        raise _refused(f"no {missing[0]}")
    size = config["input_size"]
    if not isinstance(size, list) or len(size) != 3 or size[0] != 3:
        raise _refused(f"input_size {size!r}; wanted 3 channels, height and width")
    if config.get("crop_border_pixels"):
        raise _refused("crop_border_pixels, which is not supported")
    return _shape(size[1], size[2], config) | {
        "interpolation": config["interpolation"],
        "layout": "NCHW",
        "rescale": 1 / 255,
        "mean": config["mean"],
        "std": config["std"],
        "channels": "RGB",
    }


def widths(config: Mapping[str, Any]) -> tuple[set[int], set[int]]:
    """The numbers of features and of classes that a ``config.json`` names."""
    parts = [config, config.get("pretrained_cfg", {})]
    features, classes = (
        {part[key] for part in parts if type(part.get(key)) is int and part[key] > 0}
        for key in ("num_features", "num_classes")
    )
    return features, classes


def _shape(height: Any, width: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Height, width, resize and edge, like timm's transforms for evaluation."""
    share, mode = config["crop_pct"], config.get("crop_mode") or "center"
    numbers = type(height) is type(width) is int and isinstance(share, int | float)
    if not numbers or not 0 < share <= 1:
        raise _refused(f"input_size {config['input_size']!r} with crop_pct {share!r}")
    said = {"height": height, "width": width, "rounding": "even"}
    edge = math.floor(height / share)
    if mode == "squash" and share == 1:
        return said | {"resize": "squash"}
    if mode == "border" and share == 1:
        fill = [round(255 * value) for value in config["mean"]]
        return said | {"resize": "pad", "fill": fill}
    if mode in ("squash", "center") and height == width:
        resize = "squash" if mode == "squash" else "shortest_edge"
        return said | {"resize": resize, "edge": edge}
    raise _refused(f"crop_mode {mode!r} with crop_pct {share} for {height} x {width} pixels")


def _refused(what: str) -> BackboneError:
    return BackboneError(f"config.json (timm) has {what}")
