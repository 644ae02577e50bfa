"""Arrays -> matplotlib figures. Nothing is shown or saved here, and pyplot is never touched."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

# More labels than these are named at their centres instead of in a legend.
LEGEND_LABELS = 20
# More bars than these would be thinner than the gaps between them.
SEPARATE_BARS = 60
# More texts than these hide the points; the most frequent labels are named.
NAMED_LABELS = 200

_INK, _MUTED, _ACCENT, _MARK = "#222222", "#c3c9d0", "#3f90da", "#bd1f01"
# Ten colours that colour-blind people can tell apart; with the markers, 140 combinations.
_COLOURS = matplotlib.color_sequences["petroff10"]
_MARKERS = "os^DvPX*<>pdh8"

Array = NDArray[np.floating[Any]]
Numbers = NDArray[np.integer[Any]]


def scree(explained_variance: Array, components: int) -> Figure:
    """The share of the variance of each component, and of all up to it.

    Components far beyond the chosen ones are left out.

    Args:
        explained_variance: of shape (d,), the share of every component, descending, 1 in sum.
        components: how many of them are kept, from 1 to d.
    """
    rank = int(np.count_nonzero(explained_variance > 1e-12))
    shown = min(max(20, math.ceil(1.3 * components)), max(rank, components))
    shares, cumulative = explained_variance[:shown], np.cumsum(explained_variance)[:shown]
    numbers = np.arange(1, shown + 1)
    kept = cumulative[components - 1]
    few = shown <= SEPARATE_BARS

    figure = _figure(8, 5.5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    upper.plot(numbers, cumulative, color=_INK, marker="o" if few else "", markersize=3.5)
    upper.plot(components, kept, "o", color=_MARK, markersize=7, zorder=3)
    upper.set(ylim=(0, 1.04), ylabel="share of all up to it", title="Variance by component")
    before = components > (1 + shown) / 2
    upper.annotate(
        f"{components:,} components explain {kept:.1%} of the variance"
        if components > 1
        else f"1 component explains {kept:.1%} of the variance",
        # A cumulative share bends downwards: above or below the mark, one corner is free.
        (components, 0.06 if kept > 0.5 else 0.94),
        (-8 if before else 8, 0),
        textcoords="offset points",
        ha="right" if before else "left",
        va="center",
        color=_MARK,
    )
    for start, stop, colour in ((0, components, _ACCENT), (components, shown, _MUTED)):
        if few:
            lower.bar(numbers[start:stop], shares[start:stop], color=colour)
        elif start < stop:
            lower.stairs(
                shares[start:stop], np.arange(start, stop + 1) + 0.5, fill=True, color=colour
            )
    lower.set(xlim=(0.3, shown + 0.7), xlabel="component", ylabel="share of each")
    lower.xaxis.set_major_locator(
        MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    if not few:  # The first would dwarf the others.
        smallest = max(shares[-1], 1e-6)
        lower.set(yscale="log", ylim=(10 ** math.floor(math.log10(smallest)), None))
        lower.set_ylabel("share of each, log scale")
    for axes in (upper, lower):
        axes.axvline(components, color=_MARK, linewidth=1, linestyle="--", zorder=0)
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        _tidy(axes, grid="y")
    return figure


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
    title = f"{_count(len(points), 'image')}, {_count(len(names), 'label')}"
    if points.shape[1] == 1:
        return _rows(points[:, 0], names, inverse, explained_variance, title)
    figure = _figure(9, 6.5) if len(names) <= LEGEND_LABELS else _figure(12, 8.5)
    axes = figure.subplots()
    handles = _points(axes, points, inverse, len(names))
    axes.margins(0.04)
    axes.set(xlabel=_component(1, explained_variance), ylabel=_component(2, explained_variance))
    if len(names) <= LEGEND_LABELS:
        legend = figure.legend(
            handles,
            [_short(name, 32) for name in names],
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
        _name(figure, axes, centres, [_short(names[number], 24) for number in frequent])
    axes.set_title(title)
    _tidy(axes, grid="both")
    return figure


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
    figure = _figure(side * columns, rows * (side + 2 * font.get_size() / 72))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, label in zip(grid.flat, images, labels, strict=False):
        axes.imshow(image)
        axes.set_title(_wrapped(label, font, 72 * side - 8), font=font, pad=4, parse_math=False)
    return figure


def stage_seconds(seconds: Mapping[str, float]) -> Figure:
    """How long each stage of a run took.

    Args:
        seconds: by stage, in order; "total" is in the title.
    """
    stages = {name: value for name, value in seconds.items() if name != "total"}
    total = seconds.get("total", sum(stages.values()))
    figure = _figure(8, 0.8 + 0.34 * max(len(stages), 1))
    axes = figure.subplots()
    bars = axes.barh(list(stages), list(stages.values()), color=_ACCENT, height=0.7)
    axes.bar_label(bars, [f"{value:,.1f}" for value in stages.values()], padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.set(xlabel="seconds", title=f"Seconds by stage: {total:,.1f} in total")
    axes.tick_params(axis="y", length=0)
    _tidy(axes, grid="x")
    return figure


def _rows(
    values: Array, names: Sequence[str], inverse: Numbers, explained_variance: Array, title: str
) -> Figure:
    """The only component of images, a row for each label."""
    figure = _figure(9, min(1.2 + 0.3 * len(names), 6.5 + 0.1 * len(names), 30))
    axes = figure.subplots()
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(values))
    _points(axes, np.column_stack([values, inverse + spread]), inverse, len(names))
    every = math.ceil(len(names) / 200)
    axes.set_yticks(
        range(0, len(names), every),
        [_short(name, 32) for name in names[::every]],
        fontsize=9 if len(names) <= LEGEND_LABELS else 6,
        parse_math=False,
    )
    axes.set(xlabel=_component(1, explained_variance), title=title, ylim=(len(names) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    _tidy(axes, grid="both")
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
            marker=_MARKERS[(number + number // len(_COLOURS)) % len(_MARKERS)],
            color=_COLOURS[number % len(_COLOURS)],
            alpha=0.75,
            markersize=size,
            markeredgewidth=0,
        )
    return handles


def _name(figure: Figure, axes: Axes, centres: Array, texts: Sequence[str]) -> None:
    """Writes texts next to their centres (n, 2), each where it covers no earlier one."""
    font = FontProperties(size=6.5)
    # Offsets hold for one size of the axes: the layout is made, and then stays.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    to_points = 72 / figure.dpi
    room = axes.get_window_extent().get_points() * to_points
    places = axes.transData.transform(centres) * to_points
    taken = np.empty((0, 2, 2))
    for place, centre, text in zip(places, centres, texts, strict=True):
        half = np.array([_width(text, font), font.get_size()]) / 2 + [1.5, 0.5]
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
            fontproperties=font,
            color=_INK,
            parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="white", alpha=0.85)],
            arrowprops={
                "arrowstyle": "-",
                "color": _INK,
                "linewidth": 0.5,
                "shrinkA": 0,
                "shrinkB": 0,
            }
            if best
            else None,
        )


def _around() -> Array:
    """Offsets (tries, 2) in points, nearest first: on the spot, then in growing ellipses."""
    angles = np.arange(24) * np.pi / 12 + np.pi / 2
    ring = np.column_stack([1.6 * np.cos(angles), np.sin(angles)])
    return np.concatenate([np.zeros((1, 2)), *(radius * ring for radius in range(9, 120, 6))])


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _tidy(axes: Axes, grid: Literal["x", "y", "both"]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)


def _component(number: int, explained_variance: Array) -> str:
    return f"PC{number} ({explained_variance[number - 1]:.1%} of the variance)"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _short(label: str, letters: int) -> str:
    label = " ".join(label.split())
    return label if len(label) <= letters else label[: letters - 1].rstrip() + "…"


def _wrapped(label: str, font: FontProperties, room: float) -> str:
    """The label in two lines at most, none wider than `room` points."""
    for letters in range(int(room / 2), 1, -1):
        lines = textwrap.wrap(label, letters, max_lines=2, placeholder=" …")
        if all(_width(line, font) <= room for line in lines):
            return "\n".join(lines)
    return ""


def _width(text: str, font: FontProperties) -> float:
    """Width of a text in points."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return float(width)
