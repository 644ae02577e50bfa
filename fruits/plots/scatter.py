"""Images in the plane of two components."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fruits.plots.naming import name_places
from fruits.plots.style import Array, Numbers, count, new_figure, short, tidy

LEGEND_LABELS = 20
"""More labels than these are named at their centres instead of in a legend."""

NAMED_LABELS = 200
"""More texts than these hide the points; the most frequent labels are named."""

# Ten colours that colour-blind people can tell apart; with the markers, 140 combinations.
COLOURS = matplotlib.color_sequences["petroff10"]
MARKERS = "os^DvPX*<>pdh8"


def scatter(points: Array, labels: Sequence[str], explained_variance: Array) -> Figure:
    """Images in the plane of the first two components, coloured by their labels.

    Up to :data:`LEGEND_LABELS` labels are explained in a legend; more are named at their centres,
    the most frequent :data:`NAMED_LABELS` of them.

    Args:
        points: of shape (n, 2), the first two components of n images; or (n, 1), where there is
            only one, and every label gets a row instead.
        labels: n of them.
        explained_variance: of shape (d,), the share of every component in the variance.
    """
    unique, inverse = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    names = unique.tolist()
    title = f"{count(len(points), 'image')}, {count(len(names), 'label')}"
    if points.shape[1] == 1:
        return _rows(points[:, 0], names, inverse, explained_variance, title)
    figure = new_figure(9, 6.5) if len(names) <= LEGEND_LABELS else new_figure(12, 8.5)
    axes = figure.subplots()
    handles = _points(axes, points, inverse, len(names))
    axes.margins(0.04)
    axes.set(xlabel=_component(1, explained_variance), ylabel=_component(2, explained_variance))
    if len(names) <= LEGEND_LABELS:
        legend = figure.legend(
            handles,
            [short(name, 32) for name in names],
            loc="outside right upper",
            frameon=False,
            markerscale=7 / handles[0].get_markersize(),
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    else:
        frequent = np.argsort(-np.bincount(inverse), kind="stable")[:NAMED_LABELS]
        if len(frequent) < len(names):
            title += f"; the {len(frequent)} most frequent labels are named"
        centres = np.array([points[inverse == number].mean(axis=0) for number in frequent])
        name_places(figure, axes, centres, [short(names[number], 24) for number in frequent])
    axes.set_title(title)
    tidy(axes, grid="both")
    return figure


def _rows(
    values: Array, names: Sequence[str], inverse: Numbers, explained_variance: Array, title: str
) -> Figure:
    """The only component of images, a row for each label."""
    figure = new_figure(9, min(1.2 + 0.3 * len(names), 6.5 + 0.1 * len(names), 30))
    axes = figure.subplots()
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(values))
    _points(axes, np.column_stack([values, inverse + spread]), inverse, len(names))
    every = math.ceil(len(names) / 200)
    axes.set_yticks(
        range(0, len(names), every),
        [short(name, 32) for name in names[::every]],
        fontsize=9 if len(names) <= LEGEND_LABELS else 6,
        parse_math=False,
    )
    axes.set(xlabel=_component(1, explained_variance), title=title, ylim=(len(names) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    tidy(axes, grid="both")
    return figure


def _points(axes: Axes, points: Array, inverse: Numbers, count: int) -> list[Line2D]:
    """Draws points (n, 2) in the style of their labels, numbered in `inverse` (n,)."""
    size = float(np.clip(120 / math.sqrt(len(points)), 2, 6.5))
    handles = []
    for number in range(count):
        handles += axes.plot(
            *points[inverse == number].T,
            linestyle="",
            # Neighbours differ in both.
            marker=MARKERS[(number + number // len(COLOURS)) % len(MARKERS)],
            color=COLOURS[number % len(COLOURS)],
            alpha=0.75,
            markersize=size,
            markeredgewidth=0,
        )
    return handles


def _component(number: int, explained_variance: Array) -> str:
    return f"PC{number} ({explained_variance[number - 1]:.1%} of the variance)"
