"""Scatter plots of two components, with a panel for each group of labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fruits.plots.palette import COLOURS, MARKERS, NO_LABEL, find_groups, number_labels
from fruits.plots.scatter import component
from fruits.plots.style import MUTED, Array, Numbers, font, new_figure, short
from fruits.wording import counted

PANELS = 24
"""The maximum number of panels. Those with the fewest images are left out."""

OWN_PANEL = 4
"""Groups with fewer labels share panels."""

_COLUMNS = 4

_BEHIND = 2_000
"""The approximate number of all images that each panel shows in grey, in the background."""


@dataclass(frozen=True)
class _Panel:
    """Labels in one panel; the first ten have different colours."""

    title: str
    members: tuple[int, ...]


def scatter_groups(
    points: Array,
    labels: Sequence[str | None],
    explained_variance: Array,
    groups: Mapping[str, str] | None = None,
) -> Figure:
    """Scatter plots in several panels, to distinguish many labels.

    Each group of at least :data:`OWN_PANEL` labels has a panel; smaller groups share panels. Ten
    labels of a panel have different colours, and the others are grey. A sample of all images is in
    the background in light grey.

    Args:
        points: The first two components of n images, of shape (n, 2).
        labels: The n labels; None for images without one, which are only in the background.
        explained_variance: The share of each component in the variance, of shape (d,).
        groups: The group of each label, such as its upper folder. By default, the first words.
    """
    names, inverse = number_labels(labels)
    images = np.bincount(inverse, minlength=len(names))[: len(names)]
    panels = _panels(names, images, groups) or [_Panel(NO_LABEL, ())]
    shown = panels[:PANELS]
    columns = min(_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(4 * columns, 2.5 * rows + 0.6)
    figure.suptitle(_title(len(points), len(names), panels))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, shown, strict=False):
        _draw_panel(axes, points, inverse, names, panel)
    figure.supxlabel(component(1, explained_variance), fontsize=9)
    figure.supylabel(component(2, explained_variance), fontsize=9)
    return figure


def _title(points: int, labels: int, panels: Sequence[_Panel]) -> str:
    left_out = sum(len(panel.members) for panel in panels[PANELS:])
    more = f"; {counted(left_out, 'label')} with fewer images not shown" if left_out else ""
    return f"{counted(points, 'image')}, {counted(labels, 'label')}{more}"


def _panels(
    names: Sequence[str], images: Numbers, groups: Mapping[str, str] | None
) -> list[_Panel]:
    """The panels of large groups, and of ten labels of small groups; the largest first."""
    found = find_groups(names, images, groups)
    small = [place for _, members in found if len(members) < OWN_PANEL for place in members]
    tens = [small[start : start + len(COLOURS)] for start in range(0, len(small), len(COLOURS))]
    panels = [_Panel(name, tuple(own)) for name, own in found if len(own) >= OWN_PANEL]
    panels += [_Panel("", tuple(members)) for members in tens]
    return sorted(panels, key=lambda panel: -int(images[list(panel.members)].sum()))


def _draw_panel(
    axes: Axes, points: Array, inverse: Numbers, names: Sequence[str], panel: _Panel
) -> None:
    behind = points[:: max(1, len(points) // _BEHIND)]
    _dots(axes, behind, "#e6e8eb", "o", None)
    further = np.isin(inverse, panel.members[len(COLOURS) :])
    if further.any():
        rest = len(panel.members) - len(COLOURS)
        _dots(axes, points[further], MUTED, "o", counted(rest, "more label"))
    for number, place in enumerate(panel.members[: len(COLOURS)]):
        marker = MARKERS[number % len(MARKERS)]
        _dots(axes, points[inverse == place], COLOURS[number], marker, short(names[place], 24))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(MUTED)
    if panel.title:
        axes.set_title(short(panel.title, 28), font=font(9), loc="left", parse_math=False)
    _explain(axes)


def _dots(axes: Axes, points: Array, colour: object, marker: str, label: str | None) -> None:
    axes.plot(
        *points.T,
        linestyle="",
        marker=marker,
        color=colour,
        markersize=float(np.clip(25 / math.sqrt(max(len(points), 1)), 1.5, 3.5)),
        markeredgewidth=0,
        label=label or "_nolegend_",
    )


def _explain(axes: Axes) -> None:
    # The other labels are drawn first, but listed last.
    handles = [line for line in axes.get_lines() if line.get_label() != "_nolegend_"]
    handles.sort(key=lambda line: line.get_color() == MUTED)
    legend = axes.legend(
        handles,
        [str(line.get_label()) for line in handles],
        loc="upper left",
        bbox_to_anchor=(1, 1.03),
        frameon=False,
        prop=font(6.5),
        handletextpad=0.1,
        labelspacing=0.25,
        borderpad=0,
    )
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        text.set_parse_math(False)
        if handle is not None:
            handle.set(markersize=4)
