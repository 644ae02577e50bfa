"""Groups similar training images, and assigns whole groups to the folds of a cross-validation.

Frames of one film, or pictures of one fruit, look alike. A validation that trains on some of them
and tests on others measures how well the classifier remembers pictures, not how well it recognises
new fruit. So similar images form a group, and each group is completely in one fold.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.sources.boxes import photographs
from fruits.sources.naming import Naming
from fruits.sources.object_names import film_of, folder_of, is_like_a_hash, object_path
from fruits.wording import counted

FOLDS = 5
"""The number of folds, and of blocks of a label whose images have no visible groups."""

_LARGEST = 0.8
"""The largest share of a label's images in one folder or film. If it is larger, few images would be
left to train the model that is tested on this group: one stray file must not decide that."""

TRAIN_ONLY = -1
"""The fold of images that are never tested, because all groups of their label are in one fold."""

Label = TypeVar("Label", str, int)


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of n images.

    Attributes:
        names: The name of the group of each image.
        kinds: The number of labels that were grouped by "expression", "source", "folder", "film"
            or "block", or are a "single" image.
        ungrouped: The number of images that are separate groups, because the expression does not
            match them or the source has no group for them.
    """

    names: list[str]
    kinds: dict[str, int]
    ungrouped: int = 0

    def describe(self) -> str:
        """Describes the groups in one line."""
        return describe_groups(len(set(self.names)), self.kinds, self.ungrouped)


def describe_groups(count: int, kinds: Mapping[str, int], ungrouped: int = 0) -> str:
    """Describes groups in one line.

    Args:
        count: the number of different groups.
        kinds: see :attr:`Groups.kinds`.
        ungrouped: see :attr:`Groups.ungrouped`.
    """
    texts = {
        "expression": "the expression",
        "source": "the groups in the source",
        "folder": "folder",
        "film": "file name (folder and leading letters)",
        "block": "block (neighbours by file name)",
        "single": "nothing (one image)",
    }
    counts = ", ".join(
        f"{counted(own, 'label')} grouped by {texts[kind]}" for kind, own in kinds.items()
    )
    if ungrouped:
        counts += f"; {counted(ungrouped, 'image')} without a group"
    return f"{counted(count, 'group')}; {counts}"


def group_images(
    paths: Sequence[str] | pa.ChunkedArray,
    labels: Sequence[str],
    rules: Naming | None = None,
    named: Sequence[str | None] | None = None,
) -> Groups:
    """Groups images by the expression in the rules, by their source, or by their paths.

    Without an expression, groups from the source are used, such as a column of a table. Without
    these, the images of each label are divided by the first of these rules that gives several
    groups, none of which has more than 80 % of the images: by folder; by film, which is the folder
    and the leading letters of the file's name (`r_12_100.jpg`, `12_100.jpg`, `r2_12_100.jpg`),
    unless the names look like hashes or words; or into `FOLDS` blocks of neighbours by name.
    Folders that name a side of the split, and numbers of shards, are left out of paths first. An
    image that the expression does not match, or that has no group in its source, is a separate
    group.

    Boxes of one photograph are always in one group, which is derived from the photograph's path.

    Args:
        paths: n paths; an Arrow column needs less memory.
        labels: n labels.
        rules: the rules for paths; by default `Naming()`.
        named: n groups from the source, None for images without a group.
    """
    column = photographs(
        paths if isinstance(paths, pa.ChunkedArray) else pa.array(paths, pa.string())
    )
    if rules is not None and rules.group is not None:
        found = [rules.group_of(path) for path in column.to_pylist()]
        return _separated(column, found, {"expression": len(set(labels))})
    if named and any(name is not None for name in named):
        return _separated(column, named, {"source": len(set(labels))})
    names, kinds = [""] * len(column), Counter[str]()
    for label, own in _members(labels):
        # One label at a time: Python strings need ten times the memory of the column.
        kind, groups = _divide(column.take(own).to_pylist())
        kinds[kind] += 1
        shared: dict[str, str] = {}
        for number, group in zip(own.tolist(), groups, strict=True):
            names[number] = shared.setdefault(group, f"{label}\t{group}")
    return Groups(names, dict(sorted(kinds.items())))


def assign_folds(
    groups: Sequence[str], labels: Sequence[str], folds: int = FOLDS
) -> NDArray[np.int64]:
    """Assigns whole groups to folds, and spreads the groups of each label over the folds.

    The groups of a label are assigned in turn, sorted by name. The first fold depends on the name
    of the label, so that all folds have similar sizes, and that added or removed images of one
    label do not change the folds of another. Groups of several labels are assigned in turn, all
    together: if each label had its own turn, two groups that have all labels could share a fold.
    The order of the images has no influence.

    Args:
        groups: the names of the groups of n images.
        labels: n labels.
        folds: the number of folds, at least two.

    Returns:
        (n,) int64: the fold of each image, or `TRAIN_ONLY` if all groups of its label are in one
        fold, because testing them would leave no images of the label for training. If such an
        image is in a group of several labels, only the images of the other labels are tested.
    """
    names, group = _numbered(groups)
    known, label = _numbered(labels)
    places = np.argsort(np.argsort(np.array(known, object)))  # The ranks of the labels by name.
    pairs = np.unique(group * len(known) + places[label])
    owner, place = np.divmod(pairs, max(len(known), 1))  # Each group with each of its labels.
    fold_of = np.empty(len(names), np.int64)
    of_several = np.bincount(owner, minlength=len(names)) > 1
    ranks = _ranked(np.flatnonzero(of_several), names)
    fold_of[ranks] = np.arange(len(ranks)) % folds
    alone = ~of_several[owner]
    taken = np.full(len(known), -1)  # The last fold with a group of the label and of others.
    np.maximum.at(taken, place[~alone], fold_of[owner[~alone]])
    ordered, owners = sorted(known), owner[alone]
    for number, own in _members(place[alone].tolist()):
        start = int.from_bytes(hashlib.blake2b(ordered[number].encode(), digest_size=8).digest())
        if taken[number] >= 0:
            start = int(taken[number]) + 1 + start % (folds - 1)  # Another fold.
        ranks = _ranked(owners[own], names)
        fold_of[ranks] = (start % folds + np.arange(len(ranks))) % folds
    # A group of several labels has one fold, so several groups of a label may share a fold.
    different = np.unique(place * folds + fold_of[owner])
    spread = np.bincount(different // folds, minlength=len(known))
    return np.where(spread[places[label]] > 1, fold_of[group], TRAIN_ONLY)


def _ranked(numbers: NDArray[np.int64], names: Sequence[str]) -> list[int]:
    """The numbers of some names, sorted by name."""
    return sorted(numbers.tolist(), key=lambda one: _natural(names[one]))


def _separated(
    paths: pa.ChunkedArray, found: Sequence[str | None], kinds: dict[str, int]
) -> Groups:
    """The groups that were found; an image without a group is a separate group."""
    both = zip(paths.to_pylist(), found, strict=True)
    names = [path if name is None else name for path, name in both]
    return Groups(names, kinds, sum(name is None for name in found))


def _numbered(names: Iterable[Label]) -> tuple[list[Label], NDArray[np.int64]]:
    """The unique names in the order of their first occurrence, and the index of each name."""
    places: dict[Label, int] = {}
    numbers = np.fromiter((places.setdefault(name, len(places)) for name in names), np.int64)
    return list(places), numbers


def _members(labels: Sequence[Label]) -> Iterator[tuple[Label, NDArray[np.int64]]]:
    """Yields the labels in sorted order, with the indices of their images."""
    known, numbers = _numbered(labels)
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(known)))
    for label, number in sorted(zip(known, range(len(known)), strict=True)):
        yield label, order[ends[number - 1] if number else 0 : ends[number]]


def _divide(paths: list[str]) -> tuple[str, list[str]]:
    """The kind and the names of the groups of one label's images; replaces the paths."""
    for place, path in enumerate(paths):  # In place: a second list would need as much memory.
        paths[place] = object_path(path)
    folders = [folder_of(path) for path in paths]
    if _is_divided(paths, folders):
        return "folder", folders
    films = [film_of(path) for path in paths]
    if _is_divided(paths, films) and _are_films(paths, films):
        return "film", films
    order = sorted(dict.fromkeys(paths), key=_natural)
    if len(order) == 1:
        return "single", ["0"] * len(paths)
    block_of = {path: f"{place * FOLDS // len(order)}" for place, path in enumerate(order)}
    return "block", [block_of[path] for path in paths]


def _is_divided(paths: Sequence[str], groups: Sequence[str]) -> bool:
    """Whether no group has nearly all images; boxes of one photograph count once."""
    group_of = dict(zip(paths, groups, strict=True))
    return max(Counter(group_of.values()).values()) <= _LARGEST * len(group_of)


def _are_films(paths: Sequence[str], films: Sequence[str]) -> bool:
    """Whether the letters of the names are those of films, and not of hashes, codes or words."""
    images = len(set(paths))
    if 2 * sum(is_like_a_hash(path) for path in set(paths)) > images:
        return False
    # If nearly each name has its own letters, each image would be a film.
    return len(set(films)) <= max(FOLDS, images // 2)


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A sort key by which `9.jpg` comes before `10.jpg`, like the frames of a film."""
    parts = re.split(r"(\d+)", name)
    # The name itself orders `01.jpg` and `1.jpg`.
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name
