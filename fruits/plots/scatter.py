"""Scatter plots of images in the plane of two components."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fruits.plots.naming import name_places
from fruits.plots.palette import MARKERS, NO_LABEL, Group, group_labels, number_labels
from fruits.plots.style import MUTED, Array, Numbers, font, new_figure, short, tidy
from fruits.wording import counted

LEGEND_LABELS = 20
"""If there are more labels, the legend has their groups, and names are at their centres."""

NAMED_LABELS = 60
"""The maximum number of names, of the most frequent labels; more would hide the points."""

OWN_LINES = 1000
"""If there are more labels, those with one style and equally many images are drawn as one."""

# Multiples of it, without their whole parts, are spread evenly.
_GOLDEN = 0.6180339887498949


def scatter(
    points: Array,
    labels: Sequence[str | None],
    explained_variance: Array,
    groups: Mapping[str, str] | None = None,
) -> Figure:
    """Images in the plane of the first two components, coloured by the groups of their labels.

    At most ten colours are used; see :func:`fruits.plots.palette.group_labels`. The legend has up
    to :data:`LEGEND_LABELS` labels, and shades and markers distinguish the labels of a group. If
    there are more labels, the legend has the groups, and the :data:`NAMED_LABELS` most frequent
    labels are named at their centres; :func:`scatter_groups` distinguishes them better. Labels
    with many images are drawn first, so that they do not hide others.

    Args:
        points: The first two components of n images, of shape (n, 2). If there is only one
            component, (n, 1): each label then gets a row.
        labels: The n labels; None for images without one, which are grey.
        explained_variance: The share of each component in the variance, of shape (d,).
        groups: The group of each label, such as its upper folder. By default, the first words.
    """
    names, inverse = number_labels(labels)
    known = len(names)
    images = np.bincount(inverse, minlength=known)
    found = group_labels(names, images[:known], groups)
    title = f"{counted(len(points), 'image')}, {counted(known, 'label')}"
    if len(images) > known:
        names, found = [*names, NO_LABEL], [*found, Group(NO_LABEL, (known,), MUTED)]
    if points.shape[1] == 1:
        return _rows(points[:, 0], names, inverse, found, explained_variance, title)
    figure = _figure_of(len(names))
    axes = figure.subplots()
    handles = draw_points(axes, points, inverse, names, found)
    axes.margins(0.04)
    axes.set(xlabel=component(1, explained_variance), ylabel=component(2, explained_variance))
    few = len(names) <= LEGEND_LABELS
    frequent = _most_frequent(images[:known])[: 0 if few else NAMED_LABELS]
    if not few and len(frequent) < known:
        title += f"; the {len(frequent)} most frequent labels are named"
    axes.set_title(title)
    tidy(axes, grid="both")
    _explain(figure, names, found, handles, groups)
    if not few:
        centres = np.array([points[inverse == number].mean(axis=0) for number in frequent])
        name_places(figure, axes, centres, [short(names[number], 24) for number in frequent])
    return figure


def _most_frequent(images: Numbers) -> Numbers:
    """Places of labels, those with the most images first; equal ones from all of the alphabet."""
    spread = (np.arange(len(images)) * _GOLDEN) % 1
    order: Numbers = np.lexsort((spread, -images))
    return order


def draw_points(
    axes: Axes, points: Array, inverse: Numbers, names: Sequence[str], groups: Sequence[Group]
) -> dict[int, Line2D]:
    """Draws points (n, 2) in the style of their labels, whose indices are `inverse` (n,).

    Returns:
        The line of each label. A line takes 12 kB and a millisecond, so labels share lines if they
        are more than :data:`OWN_LINES`.
    """
    images = np.bincount(inverse, minlength=len(names))
    size = float(np.clip(200 / math.sqrt(len(points)), 2, 6.5))
    styles = {
        place: (group.shade(number), MARKERS[number % len(MARKERS)])
        for group in groups
        for number, place in enumerate(group.members)
    }
    lines: dict[tuple[Any, ...], list[int]] = {}
    for place in np.argsort(-images, kind="stable").tolist():
        own = place if len(names) <= OWN_LINES else None
        lines.setdefault((images[place], styles[place], own), []).append(place)
    order = np.argsort(inverse, kind="stable")
    parts = np.split(order, np.cumsum(images)[:-1])
    handles: dict[int, Line2D] = {}
    for (_, (colour, marker), _), places in lines.items():
        (line,) = axes.plot(
            *points[np.concatenate([parts[place] for place in places])].T,
            linestyle="",
            marker=marker,
            color=colour,
            alpha=0.75,
            markersize=size,
            markeredgewidth=0,
            label=names[places[0]],
        )
        handles |= dict.fromkeys(places, line)
    return handles


def component(number: int, explained_variance: Array) -> str:
    """The name of an axis."""
    return f"PC{number} ({explained_variance[number - 1]:.1%} of the variance)"


def _figure_of(labels: int) -> Figure:
    return new_figure(9, 6.5) if labels <= LEGEND_LABELS else new_figure(13, 8.5)


def _explain(
    figure: Figure,
    names: Sequence[str],
    groups: Sequence[Group],
    handles: Mapping[int, Line2D],
    given: Mapping[str, str] | None,
) -> None:
    """Adds a legend of all labels if they are few, else of the groups."""
    if len(names) <= LEGEND_LABELS:
        shown = [(handles[place], short(names[place], 32)) for place in _in_order(names, given)]
    else:
        shown = [
            (handles[group.members[0]], f"{short(group.name, 28)}{_members(group)}")
            for group in groups
        ]
    legend = figure.legend(
        *zip(*shown, strict=True),
        loc="outside right upper",
        frameon=False,
        prop=font(9),
        markerscale=7 / shown[0][0].get_markersize(),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _in_order(names: Sequence[str], given: Mapping[str, str] | None) -> list[int]:
    """The indices of labels, sorted by their given groups and by name; without a label last."""
    last = len(names) - 1 if names[-1] == NO_LABEL else len(names)
    known = sorted(range(last), key=lambda n: (given[names[n]] if given else "", names[n]))
    return [*known, *range(last, len(names))]


def _members(group: Group) -> str:
    return "" if len(group.members) == 1 else f" ({counted(len(group.members), 'label')})"


def _rows(
    values: Array,
    names: Sequence[str],
    inverse: Numbers,
    groups: Sequence[Group],
    explained_variance: Array,
    title: str,
) -> Figure:
    """Plots the only component of images, with a row for each label."""
    figure = new_figure(9, min(1.2 + 0.3 * len(names), 6.5 + 0.1 * len(names), 30))
    axes = figure.subplots()
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(values))
    draw_points(axes, np.column_stack([values, inverse + spread]), inverse, names, groups)
    every = math.ceil(len(names) / 200)
    axes.set_yticks(
        range(0, len(names), every),
        [short(name, 32) for name in names[::every]],
        font=font(9 if len(names) <= LEGEND_LABELS else 6),
        parse_math=False,
    )
    axes.set(xlabel=component(1, explained_variance), title=title, ylim=(len(names) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    tidy(axes, grid="both")
    return figure
