"""Translates the section ``model_info`` of an OpenVINO IR to ``input.json``.

OpenVINO's Model API, its Model Server and DL Streamer use this section. They take images as BGR, so
``reverse_input_channels`` means a network that takes RGB. Most files lack the field
``interpolation_mode``; then another file must name the interpolation.
"""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from fruits.errors import BackboneError, one_line
from fruits.networks.graph_check import read_xml

_RESIZES = {"standard": "squash", "fit_to_window_letterbox": "pad"}


_INTERPOLATIONS = {"cubic": "bicubic", "linear": "bilinear"}


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def preprocessing(xml: bytes) -> dict[str, Any]:
    """Translates the preprocessing of an IR; returns an empty dict if there is no section.

    Raises:
        BackboneError: the file is not an IR, or has a value that is not supported.
    """
    root = _root(xml)
    section = root.find("rt_info/model_info")
    if section is None:
        return {}
    fields = {field.tag: str(field.get("value", "")) for field in section}
    said = _size(root) | _values(fields)
    if resize := fields.get("resize_type"):
        if resize not in _RESIZES:
            raise BackboneError(
                f"model_info has resize_type {resize!r}; wanted one of {', '.join(_RESIZES)}"
            )
        said["resize"] = _RESIZES[resize]
    if said.get("resize") == "pad":
        said["fill"] = [int(_numbers(fields.get("pad_value", "0"))[0])] * 3
    if reverse := fields.get("reverse_input_channels"):
        said["channels"] = "RGB" if _BOOLEANS.get(reverse.lower()) else "BGR"
    if mode := fields.get("interpolation_mode"):
        said["interpolation"] = _INTERPOLATIONS.get(mode.lower(), mode.lower())
    return said


def _values(fields: dict[str, str]) -> dict[str, Any]:
    """Rescale, mean and std; if only mean or std is given, the other one has no effect."""
    if not fields.keys() & {"mean_values", "scale_values"}:
        return {}
    mean = _numbers(fields.get("mean_values", "0"))
    std = _numbers(fields.get("scale_values", "1"))
    return {"rescale": 1, "mean": _three(mean), "std": _three(std)}


def _size(root: ElementTree.Element) -> dict[str, Any]:
    """Height and width of the first input, if they are fixed."""
    shapes = [
        str(data.get("shape", "")).split(",")
        for layer in root.iter("layer")
        if layer.get("type") == "Parameter"
        for data in layer.iter("data")
    ]
    shape = [side.strip() for side in shapes[0]] if shapes else []
    if len(shape) != 4 or "3" not in (shape[1], shape[3]):
        return {}
    height, width = shape[2:] if shape[1] == "3" else shape[1:3]
    fixed = height.isdigit() and width.isdigit()
    return {"height": int(height), "width": int(width)} if fixed else {}


def _root(xml: bytes) -> ElementTree.Element:
    try:
        return read_xml(xml)
    except (ElementTree.ParseError, ValueError) as error:
        raise BackboneError(f"wanted an OpenVINO IR; got {one_line(error)}") from error


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(number) for number in re.split(r"[\s,]+", text.strip("[]() "))]
    except ValueError:
        raise BackboneError(f"model_info: wanted numbers; got {text!r}") from None
    return numbers


def _three(numbers: list[float]) -> list[float]:
    return numbers * 3 if len(numbers) == 1 else numbers
