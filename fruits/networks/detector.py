"""The description of a detector: its input, the format of its outputs, and its filters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fruits.errors import BackboneError
from fruits.images.resize import InputSpec

PREFIX = "detector:"
"""The prefix of a detector's folder in the option ``crop``."""

PARTS = ("detector.bin", "detector.xml")
"""The files of a detector in a compiled graph."""

FORMATS = {
    "torchvision": "boxes, scores",
    "detr": "logits, pred_boxes",
    "yolov5": "one output (1, n, 5 + classes)",
    "yolov8": "one output (1, 4 + classes, n)",
    "yolov10": "one output (1, n, 6)",
    "ssd": "one output (1, 1, n, 7)",
}
"""The formats of boxes, with the outputs of each."""

ACTIVATIONS = ("softmax", "sigmoid")
"""The activations that convert logits of a ``detr`` into scores."""

EMPTY = ("reject", "whole")
"""What to do with a photograph without boxes: reject it, or use the whole photograph."""

MOST_BOXES = 1000

_WORDS = ("format", "activation", "outputs", "score", "overlap", "most", "classes", "empty")


@dataclass(frozen=True)
class Detector:
    """A detector, without its files.

    Attributes:
        name: The name of its folder.
        sha256: The SHA-256 of everything that affects the boxes, in hexadecimal.
        input: The shape of its input, and how to resize photographs.
        format: The format of its outputs, one of :data:`FORMATS`.
        activation: One of :data:`ACTIVATIONS`; empty if the network returns scores.
        outputs: The names of its outputs, in the order of :data:`FORMATS`; empty for the usual
            names.
        score: Boxes with a lower score are ignored.
        overlap: If intersection over union of two boxes is larger, the box with the lower score is
            ignored.
        most: The most boxes of a photograph.
        classes: The numbers of the accepted classes; empty for all classes.
        empty: What to do with a photograph without boxes, one of :data:`EMPTY`.

    Raises:
        BackboneError: a value is invalid.
    """

    name: str
    sha256: str
    input: InputSpec
    format: str
    activation: str = ""
    outputs: tuple[str, ...] = ()
    score: float = 0.5
    overlap: float = 0.5
    most: int = 100
    classes: tuple[int, ...] = ()
    empty: str = "reject"

    def __post_init__(self) -> None:
        for name in ("outputs", "classes"):
            value = getattr(self, name)
            _require(isinstance(value, list | tuple), name, "a list", value)
            object.__setattr__(self, name, tuple(value))
        _require(self.format in FORMATS, "format", f"one of {', '.join(FORMATS)}", self.format)
        known = ACTIVATIONS if self.format == "detr" else ("",)
        wanted = f"one of {', '.join(ACTIVATIONS)}" if self.format == "detr" else "left out"
        _require(self.activation in known, "activation", wanted, self.activation)
        for name in ("score", "overlap"):
            value = getattr(self, name)
            _require(_is_share(value), name, "a number of at least 0 and less than 1", value)
        most = type(self.most) is int and 1 <= self.most <= MOST_BOXES
        _require(most, "most", f"a whole number from 1 to {MOST_BOXES}", self.most)
        numbers = all(type(one) is int and one >= 0 for one in self.classes)
        _require(numbers, "classes", "whole numbers of at least 0", self.classes)
        names = all(isinstance(one, str) and one for one in self.outputs)
        _require(names, "outputs", "names", self.outputs)
        _require(self.empty in EMPTY, "empty", f"one of {' or '.join(EMPTY)}", self.empty)
        _require(
            self.input.resize in ("squash", "pad") and not self.input.edge,
            "resize",
            "squash or pad, which keep the whole photograph",
            self.input.resize,
        )

    @classmethod
    def of(cls, name: str, sha256: str, spec: InputSpec, said: Mapping[str, Any]) -> Detector:
        """The detector that a folder describes.

        Args:
            name: the name of the folder.
            sha256: the SHA-256 of everything that affects the boxes.
            spec: the input of the network.
            said: the fields of ``detector`` in ``input.json``, with the format.

        Raises:
            BackboneError: a field is unknown, or its value is invalid.
        """
        if unknown := sorted(set(said) - set(_WORDS)):
            raise BackboneError(
                f"detector: wanted the fields {', '.join(_WORDS)}; got {', '.join(unknown)}"
            )
        return cls(name, sha256, spec, **said)

    def describe(self) -> dict[str, Any]:
        """The settings that affect the boxes, ready for JSON."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: values[name] for name in _WORDS}


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value < 1  # type: ignore[arg-type, operator]


def _require(holds: bool, name: str, wanted: str, value: object) -> None:
    if not holds:
        raise BackboneError(f"detector: wanted {name} as {wanted}; got {value!r}")
