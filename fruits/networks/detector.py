"""What a detector is: what it takes, in what form it gives boxes, and which of them count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fruits.errors import BackboneError
from fruits.sources.resize import InputSpec

PREFIX = "detector:"
"""Before the folder of a detector, in the option ``crop``."""

PARTS = ("detector.bin", "detector.xml")
"""The files of a detector among those of a compiled graph."""

FORMATS = {
    "torchvision": "boxes, scores",
    "detr": "logits, pred_boxes",
    "yolov5": "one output (1, n, 5 + classes)",
    "yolov8": "one output (1, 4 + classes, n)",
    "yolov10": "one output (1, n, 6)",
    "ssd": "one output (1, 1, n, 7)",
}
"""Forms in which detectors give boxes, and by which outputs."""

ACTIVATIONS = ("softmax", "sigmoid")
"""How scores are made of the logits of a ``detr``."""

EMPTY = ("reject", "whole")
"""What becomes of a photograph without a box: it is rejected, or taken whole."""

MOST_BOXES = 1000

_WORDS = ("format", "activation", "outputs", "score", "overlap", "most", "classes", "empty")


@dataclass(frozen=True)
class Detector:
    """A detector, without its files.

    Attributes:
        name: that of its folder.
        sha256: of everything that decides the boxes, in hexadecimal.
        input: the shape of its input, and how a photograph is brought to it.
        format: one of :data:`FORMATS`.
        activation: one of :data:`ACTIVATIONS`; empty where scores are given.
        outputs: names of its outputs, in the order in which :data:`FORMATS` has them; empty where
            they are known.
        score: boxes with a lower score do not count.
        overlap: of two boxes, the one with the lower score does not count if the intersection is
            more than this share of the union.
        most: boxes of a photograph.
        classes: numbers of the classes that count; all where it is empty.
        empty: one of :data:`EMPTY`.

    Raises:
        BackboneError: a value cannot be used.
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
            _require(_is_share(value), name, "a number from 0 up to, but not, 1", value)
        most = type(self.most) is int and 1 <= self.most <= MOST_BOXES
        _require(most, "most", f"a whole number from 1 to {MOST_BOXES}", self.most)
        numbers = all(type(one) is int and one >= 0 for one in self.classes)
        _require(numbers, "classes", "whole numbers from 0", self.classes)
        names = all(isinstance(one, str) and one for one in self.outputs)
        _require(names, "outputs", "names", self.outputs)
        _require(self.empty in EMPTY, "empty", f"one of {' or '.join(EMPTY)}", self.empty)
        _require(
            self.input.resize in ("squash", "pad") and not self.input.edge,
            "resize",
            "squash or pad, which show it all of a photograph",
            self.input.resize,
        )

    @classmethod
    def of(cls, name: str, sha256: str, spec: InputSpec, said: Mapping[str, Any]) -> Detector:
        """The detector that a folder describes.

        Args:
            name: of the folder.
            sha256: of everything that decides the boxes.
            spec: what the network takes.
            said: the words under ``detector`` in ``input.json``, with a format.

        Raises:
            BackboneError: a word is unknown, or its value cannot be used.
        """
        if unknown := sorted(set(said) - set(_WORDS)):
            raise BackboneError(
                f"detector: wanted the words {', '.join(_WORDS)}; got {', '.join(unknown)}"
            )
        return cls(name, sha256, spec, **said)

    def describe(self) -> dict[str, Any]:
        """What decides the boxes besides the network, ready for JSON."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: values[name] for name in _WORDS}


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value < 1  # type: ignore[arg-type, operator]


def _require(holds: bool, name: str, wanted: str, value: object) -> None:
    if not holds:
        raise BackboneError(f"detector: wanted {name} as {wanted}; got {value!r}")
