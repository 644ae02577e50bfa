"""Writes names next to points without overlaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from fruits.plots.style import INK, Array, font, width


def name_places(figure: Figure, axes: Axes, centres: Array, texts: Sequence[str]) -> None:
    """Writes texts near their centres (n, 2), where they overlap earlier texts least."""
    letters = font(6.5)
    # The offsets depend on the size of the axes, so the layout must not change afterwards.
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine("none")
    to_points = 72 / figure.dpi
    room = axes.get_window_extent().get_points() * to_points
    places = axes.transData.transform(centres) * to_points
    taken = np.empty((0, 2, 2))
    for place, centre, text in zip(places, centres, texts, strict=True):
        half = np.array([width(text, letters), letters.get_size()]) / 2 + [1.5, 0.5]
        tried = place + _around()
        boxes = np.stack([tried - half, tried + half], axis=1)  # (tries, corner, xy)
        shared = np.minimum(boxes[:, None, 1], taken[:, 1]) - np.maximum(
            boxes[:, None, 0], taken[:, 0]
        )
        hidden = shared.clip(0).prod(axis=2).sum(axis=1)
        outside = (room[0] - boxes[:, 0]).clip(0).sum(axis=1)
        outside += (boxes[:, 1] - room[1]).clip(0).sum(axis=1)
        best = int(np.argmin(hidden + 100 * outside))  # the nearest of the best
        taken = np.concatenate([taken, boxes[None, best]])
        axes.annotate(
            text,
            centre,
            tried[best] - place,
            textcoords="offset points",
            ha="center",
            va="center",
            fontproperties=letters,
            color=INK,
            parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="white", alpha=0.85)],
            arrowprops={
                "arrowstyle": "-",
                "color": INK,
                "linewidth": 0.5,
                "shrinkA": 0,
                "shrinkB": 0,
            }
            if best
            else None,
        )


def _around() -> Array:
    """Offsets (tries, 2) in points, nearest first: zero, then growing ellipses."""
    angles = np.arange(24) * np.pi / 12 + np.pi / 2
    ring = np.column_stack([1.6 * np.cos(angles), np.sin(angles)])
    return np.concatenate([np.zeros((1, 2)), *(radius * ring for radius in range(9, 120, 6))])
