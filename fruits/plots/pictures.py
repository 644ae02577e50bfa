"""Photographs with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray

from fruits.plots.style import new_figure, wrapped


def image_grid(images: Sequence[NDArray[np.uint8]], labels: Sequence[str]) -> Figure:
    """Images in rows, with their labels above them.

    Args:
        images: uint8 RGB, each of shape (h, w, 3); the sizes may differ.
        labels: one for each image.
    """
    columns = min(max(len(images), 1), 6 if len(images) <= 24 else 10)
    rows = max(1, math.ceil(len(images) / columns))
    side = 10 / max(columns, 4)  # inches
    font = FontProperties(size=9 if columns <= 6 else 7)
    figure = new_figure(side * columns, rows * (side + 2 * font.get_size() / 72))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, label in zip(grid.flat, images, labels, strict=False):
        axes.imshow(image)
        axes.set_title(wrapped(label, font, 72 * side - 8), font=font, pad=4, parse_math=False)
    return figure
