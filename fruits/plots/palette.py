"""Colours of labels that can be distinguished: a group of labels has one colour in shades."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import to_hex, to_rgb

from fruits.plots.style import MUTED, Numbers

_GREYS = ("#94a4a2", "#717581")

COLOURS = (
    *(c for c in map(to_hex, matplotlib.color_sequences["petroff10"]) if c not in _GREYS),
    *_GREYS,
)
"""Ten colours that colour-blind people can distinguish; the last two are grey."""

# The shades of a colour: unchanged, darker, lighter, even darker, even lighter.
_SHADES = ((0.0, 0.0), (0.0, 0.35), (1.0, 0.4), (0.0, 0.6), (1.0, 0.6))

MARKERS = "os^DvP"
"""One more than shades, so that thirty labels differ in marker or shade."""

OTHERS = "others"

NO_LABEL = "no label"
"""The name of images without a label in legends; it is not counted among the labels."""


@dataclass(frozen=True)
class Group:
    """Labels that share a colour.

    Attributes:
        name: The name of the group; `OTHERS` for labels without a colour.
        members: The indices of the labels, those with the most images first.
        colour: A colour of matplotlib.
    """

    name: str
    members: tuple[int, ...]
    colour: str

    def shade(self, number: int) -> tuple[float, float, float]:
        """The colour of a member, a shade of the group's colour; grey has no shades."""
        if self.name == OTHERS:
            return to_rgb(self.colour)
        towards, weight = _SHADES[number % len(_SHADES)]
        red, green, blue = (towards * weight + part * (1 - weight) for part in to_rgb(self.colour))
        return red, green, blue


def number_labels(labels: Sequence[str | None]) -> tuple[list[str], Numbers]:
    """The sorted different labels, and their indices.

    Args:
        labels: The labels of n images; None for images without one.

    Returns:
        The c labels; and the index of each image's label, (n,) int64, which is c without a label.
    """
    names = sorted({label for label in labels if label is not None})
    places: dict[str | None, int] = {name: place for place, name in enumerate(names)}
    return names, np.array([places.get(label, len(names)) for label in labels], np.int64)


def group_labels(
    labels: Sequence[str], images: Numbers, groups: Mapping[str, str] | None = None
) -> list[Group]:
    """The groups of labels with their colours, those with the most images first.

    The group of a label is the folder above it ("Apple/Red 1") or its first word ("Apple Red 1").
    If that gives one group, or a group for each label, each label is a group. If there are more
    than ten groups, the eight with the most images have a colour, and the others are grey. Up to
    twenty labels all have a colour; two labels may share one, and the second is darker.

    Args:
        labels: The c labels.
        images: The number of images of each label, (c,) int64.
        groups: The group of each label. By default, it is found from the names.
    """
    found = find_groups(labels, images, groups)
    if len(COLOURS) < len(found) and len(labels) <= 2 * len(COLOURS):
        return _paired(labels, images)
    own = found if len(found) <= len(COLOURS) else found[: len(COLOURS) - len(_GREYS)]
    result = [
        Group(name, tuple(members), colour)
        for (name, members), colour in zip(own, COLOURS, strict=False)
    ]
    rest = [place for _, members in found[len(own) :] for place in members]
    return [*result, Group(OTHERS, tuple(rest), MUTED)] if rest else result


def find_groups(
    labels: Sequence[str], images: Numbers, groups: Mapping[str, str] | None = None
) -> list[tuple[str, list[int]]]:
    """The names of the groups and the indices of their labels, both sorted by images."""
    names = [groups[label] for label in labels] if groups else _first_words(labels)
    found: dict[str, list[int]] = {}
    for place in np.argsort(-images, kind="stable").tolist():
        found.setdefault(names[place], []).append(place)
    return sorted(found.items(), key=lambda one: (-int(images[one[1]].sum()), one[0]))


def _paired(labels: Sequence[str], images: Numbers) -> list[Group]:
    """Groups of one or two labels, only to share colours."""
    places = np.argsort(-images, kind="stable").tolist()
    used = max(len(COLOURS) - len(_GREYS), math.ceil(len(places) / 2))
    return [
        Group(labels[places[number]], tuple(places[number::used]), COLOURS[number])
        for number in range(used)
    ]


def _first_words(labels: Sequence[str]) -> list[str]:
    words = [_upper(label) for label in labels]
    return words if 1 < len(set(words)) < len(labels) else list(labels)


def _upper(label: str) -> str:
    above, slash, _ = label.rpartition("/")
    return above if slash else re.split(r"[\s_-]+", label.strip(), maxsplit=1)[0]
