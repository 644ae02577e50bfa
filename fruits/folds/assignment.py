"""Assigns training images to folds, a few labels at a time if there are many images."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from fruits.classify.groups import Groups, assign_folds, describe_groups, group_images
from fruits.folds.kept_folds import FOLDED
from fruits.sources import parts
from fruits.sources.naming import Naming
from fruits.sources.parts import Parts
from fruits.sources.row_counts import value_counts
from fruits.sources.spread import Spread, each_sorted


def training_folds(images: Parts, naming: Naming) -> tuple[Parts, dict[str, Any]]:
    """Assigns training images to folds, see :mod:`fruits.classify.groups`.

    Groups of an expression or of the source may have several labels. In that case all images are
    in memory at once, with 200 bytes for each.

    Args:
        images: The images ordered by path: ``path``, ``label``, and ``group`` if the source has
            groups.
        naming: The rules that read paths.

    Returns:
        Parts of :data:`fruits.folds.kept_folds.FOLDED`; and ``groups``, one line that describes
        the groups, ``groups_by``, the number of labels by rule (:attr:`Groups.kinds`), and
        ``ungrouped``, the number of images without a group (:attr:`Groups.ungrouped`).
    """
    if len(images.reads) == 1:
        table, groups = _folded(next(iter(images)), naming)
        return Parts.of(table), _about(groups.describe(), groups.kinds, groups.ungrouped)
    if naming.group is None and not _has_groups(images):
        return _by_label(images, naming)
    table, groups = _folded(images.table(), naming)
    spread = Spread(FOLDED, images.bounds)
    spread.add(table)
    about = _about(groups.describe(), groups.kinds, groups.ungrouped)
    return each_sorted(spread.parts()), about


def shared_objects(names: pa.ChunkedArray) -> list[Any]:
    """A column of strings as a list that shares one object for equal strings; null is None."""
    coded = names.combine_chunks().dictionary_encode()
    known = coded.dictionary.to_pylist()
    return [None if place is None else known[place] for place in coded.indices.to_pylist()]


def _about(groups: str, kinds: Mapping[str, int], ungrouped: int = 0) -> dict[str, Any]:
    return {"groups": groups, "groups_by": dict(kinds), "ungrouped": ungrouped}


def _folded(images: pa.Table, naming: Naming) -> tuple[pa.Table, Groups]:
    labels = shared_objects(images["label"])
    named = shared_objects(images["group"]) if "group" in images.column_names else None
    groups = group_images(images["path"], labels, naming, named)
    numbers = pa.array(assign_folds(groups.names, labels))
    return images.select(["path", "label"]).append_column("fold", numbers), groups


def _has_groups(images: Parts) -> bool:
    return "group" in images.schema.names and any(
        part["group"].null_count < part.num_rows for part in images
    )


def _by_label(images: Parts, naming: Naming) -> tuple[Parts, dict[str, Any]]:
    """Assigns the images of some labels at a time, if each group has only one label."""
    folds = Spread(FOLDED, images.bounds)
    count, kinds = 0, Counter[str]()
    for some in _labels_together(images):
        table, groups = _folded(some, naming)
        count += len(set(groups.names))
        kinds.update(groups.kinds)
        folds.add(table)
    by_rule = dict(sorted(kinds.items()))
    return each_sorted(folds.parts()), _about(describe_groups(count, by_rule), by_rule)


def _labels_together(images: Parts) -> Parts:
    """The same images in parts by label: all images of a label are in one part, by path."""
    counts: Counter[str] = Counter()
    for part in images:
        counts.update(value_counts(part["label"]))
    labels = sorted(counts)
    before = itertools.accumulate((counts[label] for label in labels), initial=0)
    firsts: dict[int, str] = {}
    for label, start in zip(labels, before, strict=False):
        firsts.setdefault(start // parts.PART_ROWS, label)
    bounds = [*firsts.values()][1:]
    spread = Spread(images.schema, bounds)
    for part in images:
        coded = part["label"].combine_chunks().dictionary_encode()
        names = coded.dictionary.to_pylist()
        of_label = np.array([bisect_right(bounds, name) for name in names], np.int64)
        numbers = of_label[coded.indices.to_numpy()]
        for number in np.unique(numbers).tolist():
            spread.add_to(number, part.filter(pa.array(numbers == number)))
    return spread.parts()
