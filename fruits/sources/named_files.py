"""The listing of files that a table or an inventory names."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.sources.listing import LISTING
from fruits.sources.members import AT, ITEMS, REFUSED, has_rules, prefer_source_values
from fruits.sources.naming import Naming
from fruits.sources.repeats import is_last

NAMED = LISTING.append(pa.field("group", pa.string()))
"""The columns of named files; `label`, `split`, `group` are those of the source, see `Member`."""

_SAID = ["path", "label", "split", "group"]


def described(files: pa.Table, naming: Naming, refused: NDArray[np.bool_]) -> pa.Table:
    """The rows of :data:`fruits.sources.members.ITEMS` for named files.

    Args:
        files: rows of :data:`NAMED`.
        naming: the rules for labels and splits.
        refused: the files that are never read, because rows of the source contradict each other.
            Their length and time are 0, so that they differ from any version that is known.
    """
    paths = files["path"].combine_chunks()
    labels, splits = files["label"].to_pylist(), files["split"].to_pylist()
    why = {"kind": REFUSED, "reason": "two rows of the table have different values for it"}
    columns = {
        "path": paths,
        "label": prefer_source_values(labels, naming.labels(paths), has_rules(naming)),
        "split": prefer_source_values(splits, naming.splits(paths), naming.split == "none"),
        **{name: _or_zero(refused, files[name]) for name in ("length", "modified")},
        "group": files["group"],
        "at": pa.array([why if one else None for one in refused], AT),
    }
    return pa.table({name: columns[name] for name in ITEMS.names}, schema=ITEMS)


def _or_zero(zero: NDArray[np.bool_], values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pa.array(zero), pa.scalar(0, values.type), values)


def last_of_each_path(files: pa.Table) -> pa.Table:
    """Of the rows with the same path, the last one; `files` is sorted by path."""
    return files.filter(pa.array(is_last(files["path"].combine_chunks())))


def distinct(files: pa.Table) -> tuple[pa.Table, NDArray[np.bool_]]:
    """One row for each path, and whether the rows with this path have different values.

    Args:
        files: rows of :data:`NAMED`, sorted by path.

    Returns:
        Of different rows with the same path, the one whose first occurrence is the last.
    """
    numbered = files.select(_SAID).append_column("row", pa.array(np.arange(files.num_rows)))
    groups = numbered.group_by(_SAID, use_threads=False).aggregate([("row", "min")])
    different = files.take(np.sort(groups["row_min"].to_numpy()))
    last = is_last(different["path"].combine_chunks())
    first = np.ones(len(last), bool)
    first[1:] = last[:-1]
    return different.filter(pa.array(last)), ~first[last]
