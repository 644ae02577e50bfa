"""Converts the outputs of a detector into boxes in a photograph, with NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.images.crop import Box
from fruits.images.resize import InputSpec
from fruits.networks.detector import Detector

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Candidates:
    """All boxes of a detector, before they are filtered.

    Attributes:
        corners: (n, 4) left, top, right, bottom, in pixels of the network's input.
        scores: (n,) the scores, from 0 to 1.
        classes: (n,) the class numbers.
    """

    corners: Array
    scores: Array
    classes: Array


def boxes_of(
    outputs: Sequence[NDArray[Any]], detector: Detector, width: int, height: int
) -> list[Box]:
    """The accepted boxes, the one with the highest score first.

    Args:
        outputs: the outputs of the network for one photograph, in the order of the format.
        detector: the format of the outputs, and the rules for accepting boxes.
        width: the width of the upright photograph, in pixels.
        height: the height of the upright photograph, in pixels.
    """
    found = _READERS[detector.format]([np.asarray(one, np.float64) for one in outputs], detector)
    corners = in_photograph(found.corners, detector.input, width, height)
    good = np.isfinite(found.corners).all(axis=1) & (found.scores >= detector.score)
    good &= (corners[:, 2:] > corners[:, :2]).all(axis=1)
    if detector.classes:
        good &= np.isin(found.classes, detector.classes)
    indices = non_max_suppression(
        corners[good], found.scores[good], detector.overlap, detector.most
    )
    return [tuple(box) for box in corners[good][indices].tolist()]


def in_photograph(corners: Array, spec: InputSpec, width: int, height: int) -> NDArray[np.int64]:
    """Converts corners into whole pixels of a photograph, limited to its area.

    Args:
        corners: (n, 4) in pixels of the network's input.
        spec: how the photograph was resized, without a crop.
        width: the width of the photograph.
        height: the height of the photograph.
    """
    across, down = spec.target(width, height)
    left, top = (spec.width - across) // 2, (spec.height - down) // 2
    finite = np.nan_to_num(corners, posinf=0.0, neginf=0.0)
    shifted = finite - (left, top, left, top)
    scaled = shifted * (width / across, height / down, width / across, height / down)
    inside: NDArray[np.int64] = np.rint(scaled.clip(0, (width, height) * 2)).astype(np.int64)
    return inside


def non_max_suppression(
    corners: NDArray[np.int64], scores: Array, overlap: float, most: int
) -> list[int]:
    """The indices of the remaining boxes, the one with the highest score first.

    Of overlapping boxes, only the one with the highest score remains; if scores are equal, the
    first one by its corners.
    """
    order = np.lexsort((*corners.T[::-1], -scores))
    indices: list[int] = []
    while len(order) and len(indices) < most:
        first, order = order[0], order[1:]
        indices.append(int(first))
        order = order[_overlaps(corners[first], corners[order]) <= overlap]
    return indices


def _overlaps(box: NDArray[np.int64], others: NDArray[np.int64]) -> Array:
    """Intersection over union of a box with each of the others."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = sides.clip(0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    shares: Array = common / ((box[2:] - box[:2]).prod() + areas - common)
    return shares


def _torchvision(outputs: list[Array], _: Detector) -> Candidates:
    corners, scores = outputs[0].reshape(-1, 4), outputs[1].reshape(-1)
    classes = outputs[2].reshape(-1) if len(outputs) > 2 else np.zeros(len(scores))
    return Candidates(corners, scores, classes)


def _detr(outputs: list[Array], detector: Detector) -> Candidates:
    """Boxes are shares of width and height; the last class of a softmax is "no object"."""
    logits, centred = outputs[0][0], outputs[1][0]
    if detector.activation == "sigmoid":
        chances = (1 + np.tanh(logits / 2)) / 2  # A sigmoid that never overflows.
    else:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances = (powers / powers.sum(axis=1, keepdims=True))[:, :-1]
    return _best(_cornered(centred) * _sides(detector), chances)


def _yolov8(outputs: list[Array], _: Detector) -> Candidates:
    rows = outputs[0][0].T
    return _best(_cornered(rows[:, :4]), rows[:, 4:])


def _yolov5(outputs: list[Array], _: Detector) -> Candidates:
    rows = outputs[0][0]
    return _best(_cornered(rows[:, :4]), rows[:, 4:5] * rows[:, 5:])


def _yolov10(outputs: list[Array], _: Detector) -> Candidates:
    rows = outputs[0][0]
    return Candidates(rows[:, :4], rows[:, 4], rows[:, 5])


def _ssd(outputs: list[Array], detector: Detector) -> Candidates:
    """Rows are image, class, score and corners as shares; a negative image marks the end."""
    rows = outputs[0].reshape(-1, 7)
    ends = np.flatnonzero(rows[:, 0] < 0)
    rows = rows[: ends[0]] if len(ends) else rows
    return Candidates(rows[:, 3:] * _sides(detector), rows[:, 2], rows[:, 1])


_READERS: dict[str, Callable[[list[Array], Detector], Candidates]] = {
    "torchvision": _torchvision,
    "detr": _detr,
    "yolov5": _yolov5,
    "yolov8": _yolov8,
    "yolov10": _yolov10,
    "ssd": _ssd,
}


def _best(corners: Array, chances: Array) -> Candidates:
    """Each box with its most probable class."""
    return Candidates(corners, chances.max(axis=1), chances.argmax(axis=1).astype(np.float64))


def _cornered(centred: Array) -> Array:
    """Corners of boxes that are given by centre, width and height."""
    middle, half = centred[:, :2], centred[:, 2:] / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def _sides(detector: Detector) -> Array:
    return np.array([detector.input.width, detector.input.height] * 2, np.float64)
