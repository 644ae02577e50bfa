"""Which training images belong together, and the folds of a cross-validation that keep them so.

Frames of one film, or pictures of one fruit, look alike. A validation that trains on some and tests
on others measures how well pictures are remembered, not how well a fruit is recognised that was
never seen. So images that belong together are one group, and a fold holds whole groups.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fruits.sources.boxes import photograph_of
from fruits.sources.naming import Naming, film_of, folder_of

FOLDS = 5
"""Parts of a cross-validation, and blocks of a label whose images show no groups."""

TRAIN_ONLY = -1
"""The fold of images that are never tested: their label has one group only."""


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of n images.

    Attributes:
        names: n names.
        kinds: how many labels were grouped by "expression", "source", "folder", "film"
            or "block".
    """

    names: list[str]
    kinds: dict[str, int]

    def describe(self) -> str:
        """One line for people: what a group is."""
        texts = {
            "expression": "what the expression found",
            "source": "the groups that the source names",
            "folder": "folder",
            "film": "film: the folder and the leading letters of the file's name",
            "block": "block of neighbours by file name",
        }
        counts = ", ".join(f"{count} by {texts[kind]}" for kind, count in self.kinds.items())
        return f"{len(set(self.names))} groups; labels grouped: {counts}"


def group_images(
    paths: Sequence[str],
    labels: Sequence[str],
    rules: Naming | None = None,
    named: Sequence[str | None] | None = None,
) -> Groups:
    """Group images by the expression in the rules, or by what their paths show.

    Without an expression, the groups that the source of the images names count: a column of a
    table. Without these, each label takes the coarsest of these that divides it: the folders its
    images lie in; films, which are the folder and the leading letters of the file's name
    (`r_12_100.jpg`, `12_100.jpg`, `r2_12_100.jpg`); or `FOLDS` blocks of neighbours by name.
    Images in which an expression finds nothing, or that are in no group of their source, are a
    group each.

    Boxes of one photograph are always in one group, whose name follows from the photograph's path.

    Args:
        paths: n paths.
        labels: n labels.
        rules: how paths are read; by default, as `Naming()` does.
        named: n groups that the source names, None where it names none.
    """
    paths = [photograph_of(path) for path in paths]
    if rules is not None and rules.group is not None:
        found = [rules.group_of(path) or path for path in paths]
        return Groups(found, {"expression": len(set(labels))})
    if named and any(name is not None for name in named):
        found = [path if name is None else name for path, name in zip(paths, named, strict=True)]
        return Groups(found, {"source": len(set(labels))})
    members: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        members.setdefault(label, []).append(number)
    names, kinds = [""] * len(paths), Counter[str]()
    for label in sorted(members):
        own = members[label]
        kind, groups = _divide([paths[number] for number in own])
        kinds[kind] += 1
        for number, group in zip(own, groups, strict=True):
            names[number] = f"{label}\t{group}"
    return Groups(names, dict(sorted(kinds.items())))


def assign_folds(
    groups: Sequence[str], labels: Sequence[str], folds: int = FOLDS
) -> NDArray[np.int64]:
    """Put whole groups into folds, those of a label into as many folds as they can fill.

    The groups of a label go round, in the order of their names. With which fold a label starts
    follows from its name, so that all folds have much the same size, and that images of one label
    that come or go change no fold of another. The order of the images has no influence.

    Args:
        groups: n names.
        labels: n labels. A group of several labels counts with its most frequent one.
        folds: how many.

    Returns:
        (n,) int64: the fold of each image, or `TRAIN_ONLY` where its label has one group only, so
        that a test would leave nothing to learn from.
    """
    votes: dict[str, Counter[str]] = {}
    for group, label in zip(groups, labels, strict=True):
        votes.setdefault(group, Counter())[label] += 1
    of_label: dict[str, list[str]] = {}
    for group in sorted(votes, key=_natural):
        most = min(votes[group].items(), key=lambda item: (-item[1], item[0]))[0]
        of_label.setdefault(most, []).append(group)
    spread = Counter(label for counts in votes.values() for label in counts)
    fold_of: dict[str, int] = {}
    for label, own in of_label.items():
        start = int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest())
        for number, group in enumerate(own):
            fold_of[group] = (start + number) % folds
    return np.array(
        [
            fold_of[group] if spread[label] > 1 else TRAIN_ONLY
            for group, label in zip(groups, labels, strict=True)
        ],
        np.int64,
    )


def _divide(paths: list[str]) -> tuple[str, list[str]]:
    """The groups of the images of one label, and what they are."""
    for kind, rule in (("folder", folder_of), ("film", film_of)):
        groups = [rule(path) for path in paths]
        if len(set(groups)) > 1:
            return kind, groups
    order = sorted(dict.fromkeys(paths), key=_natural)
    block_of = {path: f"{place * FOLDS // len(order)}" for place, path in enumerate(order)}
    return "block", [block_of[path] for path in paths]


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which `9.jpg` comes before `10.jpg`, as the frames of a film do."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
