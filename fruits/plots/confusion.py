"""The confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from fruits.classify.evaluate import MATRIX_LABELS, NUMBERED_LABELS, Evaluation, in_order
from fruits.plots.style import INK, MUTED, Array, font, new_figure, short, width
from fruits.wording import counted

_BLOCKS = 100
_LETTERS = 28
_LIST_WIDTH, _LIST_INDENT = 2.5, 0.5  # at least, and of the names, in inches


@dataclass(frozen=True, eq=False)
class _Cells:
    """The cells of the matrix.

    Attributes:
        names: The names of the m rows and columns.
        images: The number of images by true and predicted label, (m, m) float64.
        totals: The number of images by true label, (m,) float64; not all of very many predicted
            labels have a column.
        size: The number of labels in each row.
    """

    names: list[str]
    images: Array
    totals: Array
    size: int

    @property
    def shares(self) -> Array:
        """The shares of each row's images, (m, m) float64; 0 for rows without images."""
        totals = self.totals[:, np.newaxis]
        shares: Array = np.divide(
            self.images, totals, out=np.zeros_like(self.images), where=totals > 0
        )
        return shares


def confusion(evaluation: Evaluation, order: Sequence[str] | None = None) -> Figure:
    """The confusion matrix as shares of each row's images, with a list of the worst pairs.

    If there are more than :data:`MATRIX_LABELS` labels, neighbours are merged into blocks, so that
    the cells are large enough. Labels that the evaluation does not list are not drawn.

    Args:
        evaluation: The evaluation. The title has its scheme.
        order: The labels with similar ones next to each other, as from `labels_by_similarity`.
            Other labels follow in alphabetical order.
    """
    labels = in_order((one.label for one in evaluation.labels), order or ())
    cells = _cells(evaluation, labels)
    rows = len(cells.names)
    side = float(np.clip(0.32 * rows, 3, 11))  # of the matrix, in inches
    letters = font(float(np.clip(0.8 * 72 * side / rows, 4, 9)))
    names = max(width(name, letters) for name in cells.names) / 72
    title, lines = _worst(evaluation)
    widths = [width(title, font(10)), *(72 * _LIST_INDENT + width(t, font(8)) for _, t in lines)]
    listed = max(_LIST_WIDTH, max(widths) / 72 + 0.2)
    figure = new_figure(side + names + 1.7 + listed, max(side + names + 1, 5.2))
    figure.suptitle(_title(evaluation))
    left, right = figure.subplots(1, 2, width_ratios=[side, listed])
    _draw_matrix(figure, left, cells, letters, 72 * side / rows)
    right.set_title(title, fontsize=10, loc="left")
    right.set_axis_off()
    height = figure.get_figheight() - 0.8
    right.set(xlim=(0, listed), ylim=(max(height / 0.22, len(lines)), -0.5))
    for place, (number, text) in enumerate(lines):
        right.text(0.4, place, number, ha="right", va="center", fontsize=8)
        right.text(_LIST_INDENT, place, text, va="center", font=font(8), parse_math=False)
    return figure


def _title(evaluation: Evaluation) -> str:
    title = (
        f"Confusion, {evaluation.scheme}: {counted(evaluation.images, 'image')}, "
        f"accuracy {evaluation.accuracy:.1%}"
    )
    listed, others = len(evaluation.labels), evaluation.left_out.get("labels", 0)
    if others:
        title += f"\nthe {listed:,} labels with the most images, of {listed + others:,}"
    return title


def _cells(evaluation: Evaluation, labels: Sequence[str]) -> _Cells:
    size = 1 if len(labels) <= MATRIX_LABELS else math.ceil(len(labels) / _BLOCKS)
    row = {label: number // size for number, label in enumerate(labels)}
    blocks = [labels[start : start + size] for start in range(0, len(labels), size)]
    images = np.zeros((len(blocks), len(blocks)))
    for true, predicted, found in evaluation.confusion:
        if true in row and predicted in row:  # Not all of very many labels are listed.
            images[row[true], row[predicted]] += found
    totals = np.zeros(len(blocks))
    for one in evaluation.labels:
        totals[row[one.label]] += one.images
    return _Cells([_block_name(block) for block in blocks], images, totals, size)


def _block_name(labels: Sequence[str]) -> str:
    if len(labels) == 1:
        return short(labels[0], _LETTERS)
    letters = _LETTERS // 2
    return f"{short(labels[0], letters)} to {short(labels[-1], letters)}"


def _draw_matrix(
    figure: Figure, axes: Axes, cells: _Cells, letters: FontProperties, room: float
) -> None:
    """Draws the matrix, whose cells have a side of `room` points."""
    shares = cells.shares
    # The square root shows a confusion of 1 % next to a diagonal of 100 %.
    edges = np.arange(len(shares) + 1) - 0.5
    # Unlike `imshow`, this does not scale the matrix to the pixels of the picture in float64.
    image = axes.pcolormesh(edges, edges, shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    axes.set_aspect("equal")
    axes.invert_yaxis()
    bar = figure.colorbar(image, ax=axes, shrink=0.5, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.set_yticklabels(["0%", "1%", "5%", "20%", "50%", "100%"], fontsize=8)
    bar.set_label("share of the row's images", fontsize=8)
    level = all(width(name, letters) < room for name in cells.names)
    for ticks, rotation in ((axes.set_xticks, 0 if level else 90), (axes.set_yticks, 0)):
        places = range(len(cells.names))
        ticks(places, cells.names, font=letters, rotation=rotation, parse_math=False)
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_color(MUTED)
    what = "label" if cells.size == 1 else f"label, in blocks of {cells.size} neighbours"
    axes.set(xlabel=f"predicted {what}", ylabel=f"true {what}")
    if len(cells.names) <= NUMBERED_LABELS:
        _write_numbers(axes, cells.images, shares, 7 if room < 40 else 11)


def _write_numbers(axes: Axes, images: Array, shares: Array, size: float) -> None:
    for row, column in np.argwhere(images > 0):
        axes.text(
            column,
            row,
            f"{images[row, column]:,.0f}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if shares[row, column] > 0.35 else INK,
        )


def _worst(evaluation: Evaluation) -> tuple[str, list[tuple[str, str]]]:
    """The title of the list of confusions, and the number of images and the text of each one."""
    wrong, unseen = evaluation.wrong_images, evaluation.unseen_images
    lines = [_line(evaluation, *row) for row in evaluation.worst()]
    if unseen:
        lines.append(("*", f"label without training images: {counted(unseen, 'image')}"))
    title = "No image is wrong"
    if wrong:
        title = f"Most frequent pairs of {counted(wrong, 'wrong image')}"
    return title, lines


def _line(evaluation: Evaluation, true: str, predicted: str, found: int) -> tuple[str, str]:
    star = "*" if true in evaluation.unseen_labels else ""
    return f"{found:,}", f"{short(true, _LETTERS)}{star} → {short(predicted, _LETTERS)}"
