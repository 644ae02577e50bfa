"""The confusion matrix as SVG: a rectangle for each cell with images, and the names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fruits.classify.evaluate import MATRIX_LABELS, NUMBERED_LABELS, in_order
from fruits.wording import counted

_LETTERS = 26


@dataclass(frozen=True)
class Cell:
    """The images with one true and one predicted label.

    Attributes:
        row: The index of the true label.
        column: The index of the predicted label.
        images: The number of images.
        shade: The square root of their share in the row, from 0 to 1.
        text: The text for screen readers and for the tooltip.
    """

    row: int
    column: int
    images: int
    shade: float
    text: str


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix for the template of the page; sizes are in pixels.

    Attributes:
        title: The title.
        names: The names of the rows and of the columns.
        cells: The cells with images.
        side: The side of a cell.
        margin: The space for the names.
        letters: The font size of the names.
        left_out: The number of labels of the evaluation that are not shown.
    """

    title: str
    names: list[str]
    cells: list[Cell]
    side: int
    margin: int
    letters: float
    left_out: int

    @property
    def numbered(self) -> bool:
        """Whether the cells are large enough for numbers."""
        return len(self.names) <= NUMBERED_LABELS

    @property
    def size(self) -> int:
        """The size of the matrix without the names."""
        return self.side * len(self.names)


def matrix(evaluation: Mapping[str, Any], order: Sequence[str]) -> Matrix | None:
    """The confusion matrix of an evaluation in run.json; None if it is empty.

    If there are more than :data:`MATRIX_LABELS` labels, those with the most wrong images are shown.

    Args:
        evaluation: The evaluation, see :meth:`fruits.classify.evaluate.Evaluation.to_json`.
        order: The labels with similar ones next to each other. Other labels come last.
    """
    rows: list[tuple[str, str, int]] = [(a, b, int(n)) for a, b, n in evaluation["confusion"]]
    found = {label for row in rows for label in row[:2]}
    if not found:
        return None
    shown = _most_wrong(in_order(found, order), rows)
    left_out: Mapping[str, int] = evaluation.get("left_out", {})
    totals = {one["label"]: one["images"] for one in evaluation["labels"]}
    # Of the labels that are not listed, some rows may be missing.
    at_least = found.difference(totals) if left_out.get("confusion") else set[str]()
    counts = Counter[str]()
    for true, _, images in rows:
        counts[true] += images
    totals = {**counts, **totals}
    place = {label: number for number, label in enumerate(shown)}
    cells = []
    for true, predicted, images in rows:
        if true in place and predicted in place:
            total = counted(totals[true], "image")
            of = f"at least {total}" if true in at_least else total
            text = f"{true} → {predicted}: {images:,} of {of}"
            shade = round(math.sqrt(images / totals[true]), 3)
            cells.append(Cell(place[true], place[predicted], images, shade, text))
    side = max(11, min(34, 1000 // len(shown)))
    letters = min(12.0, 0.82 * side)
    names = [_short(one) for one in shown]
    margin = math.ceil(0.6 * letters * max(map(len, names))) + 12
    title = f"Confusion matrix, {evaluation['scheme']}: {counted(evaluation['images'], 'image')}"
    known = len(evaluation["labels"]) + left_out.get("labels", 0)
    return Matrix(title, names, cells, side, margin, letters, known - len(shown))


def _most_wrong(labels: list[str], rows: Sequence[tuple[str, str, int]]) -> list[str]:
    if len(labels) <= MATRIX_LABELS:
        return labels
    wrong = Counter[str]()
    for true, predicted, images in rows:
        if true != predicted:
            wrong.update({true: images, predicted: images})
    kept = set(sorted(labels, key=lambda label: (-wrong[label], label))[:MATRIX_LABELS])
    return [label for label in labels if label in kept]


def _short(text: str) -> str:
    half = _LETTERS // 2
    return text if len(text) <= _LETTERS else f"{text[: half - 1]}…{text[-half:]}"
