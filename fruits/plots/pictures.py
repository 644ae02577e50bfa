"""Figures of photographs with their labels and predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray
from PIL import Image

from fruits.plots.style import font, new_figure, short, wrapped
from fruits.plots.style import width as text_width
from fruits.wording import counted

Picture = NDArray[np.uint8]

_SIDE = 240
"""The side in pixels of a photograph in a pair."""

_GAP = 8


def image_grid(images: Sequence[Picture], labels: Sequence[str]) -> Figure:
    """Images in rows, with their labels above them.

    Args:
        images: The images, uint8 RGB of shape (h, w, 3). The sizes may differ.
        labels: The label of each image.
    """
    columns = min(max(len(images), 1), 6 if len(images) <= 24 else 10)
    side = 10 / max(columns, 4)  # inches
    letters = font(9 if columns <= 6 else 7)
    texts = [wrapped(label, letters, 72 * side - 8) for label in labels]
    return _grid(images, texts, columns, (side, side), letters)


def pairs(
    images: Sequence[tuple[Picture, Picture]],
    confusions: Sequence[tuple[str, str, int]],
    scheme: str,
) -> Figure:
    """Confusions as photographs: left an image with a wrong prediction, right one of that label.

    Args:
        images: A pair of images for each confusion: one with a wrong prediction, and one of the
            predicted label; uint8 RGB of any size.
        confusions: The true label, predicted label and number of images of each confusion, as from
            `Evaluation.worst`.
        scheme: The scheme of the evaluation, `Evaluation.scheme`.
    """
    columns, width = 3, 3.6
    letters = font(9)
    texts = [
        wrapped(f"{short(true, 40)} → {short(predicted, 40)} ({number:,})", letters, 72 * width - 8)
        for true, predicted, number in confusions
    ]
    figure = _grid([_both(*two) for two in images], texts, columns, (width, width / 2), letters)
    what = "left: an image with a wrong prediction; right: the predicted label; in brackets: images"
    shown = sum(number for _, _, number in confusions)
    figure.suptitle(f"Confusions, {scheme}: {counted(shown, 'image')}\n{what}", fontsize=11)
    return figure


def suspects(
    images: Sequence[Picture],
    labels: Sequence[str],
    likelihoods: Sequence[float],
    predicted: Sequence[str],
) -> Figure:
    """Photographs whose label is improbable: wrong labels, or hard images.

    Args:
        images: The images, uint8 RGB of any size.
        labels: The given labels.
        likelihoods: The probabilities of the given labels, from 0 to 1.
        predicted: The predicted labels.
    """
    columns, width = 5, 2.4
    letters = font(8)
    room = 72 * width - 8
    texts = [
        _fitted(label, f" ({chance:.1%})", "", letters, room)
        + "\n"
        + _fitted(other, "", "→ ", letters, room)
        for label, chance, other in zip(labels, likelihoods, predicted, strict=True)
    ]
    figure = _grid(images, texts, columns, (width, width), letters)
    what = "first line: the given label and its probability; second line: the predicted label"
    shown = counted(len(images), "image")
    figure.suptitle(f"Labels that may be wrong: {shown}\n{what}", fontsize=11)
    return figure


def _grid(
    images: Sequence[Picture],
    texts: Sequence[str],
    columns: int,
    size: tuple[float, float],
    letters: FontProperties,
) -> Figure:
    """Images in cells of a size in inches, below texts of at most two lines."""
    rows = max(1, math.ceil(len(images) / columns))
    width, height = size
    figure = new_figure(width * columns, rows * (height + 2 * letters.get_size() / 72))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, text in zip(grid.flat, images, texts, strict=False):
        axes.imshow(image, interpolation="bicubic")
        axes.set_title(text, font=letters, pad=4, parse_math=False)
    return figure


def _fitted(name: str, after: str, before: str, letters: FontProperties, room: float) -> str:
    """The name with the texts around it on one line, shortened to `room` points."""
    for size in range(40, 3, -1):
        text = f"{before}{short(name, size)}{after}"
        if text_width(text, letters) <= room:
            return text
    return after.strip()


def _both(left: Picture, right: Picture) -> Picture:
    """Two images side by side, each in a white square."""
    whole = np.full((_SIDE, 2 * _SIDE + _GAP, 3), 255, np.uint8)
    for image, start in ((left, 0), (right, _SIDE + _GAP)):
        scale = _SIDE / max(image.shape[:2])
        height, width = (max(1, round(scale * length)) for length in image.shape[:2])
        top, edge = (_SIDE - height) // 2, start + (_SIDE - width) // 2
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
        whole[top : top + height, edge : edge + width] = np.asarray(resized)
    return whole
