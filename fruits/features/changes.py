"""Updates files of features and their moments when rows are dropped or get another label."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.label_sums import Array
from fruits.features.moments import Label, measured_by_label
from fruits.features.moments_file import read_moments
from fruits.features.rows import matrix, read_rows, write_rows
from fruits.sources.listing import IDENTITY, anti_join, in_sorted, semi_join
from fruits.storage.files import replace
from fruits.storage.location import Location

DERIVED = ["label", "split"]
"""Columns that are derived from the path by rules, which may change."""


@dataclass(frozen=True)
class StoredMoments:
    """A file of moments, and the rows that it describes.

    Attributes:
        files: The files with the rows.
        touched: The files that have stale rows.
        place: The location of the moments.
        staged: The location for new moments.
        side: The side of the split that the moments cover; None for all rows.
        by_label: Whether the moments have sums of each label.
    """

    files: list[Location]
    touched: list[Location]
    place: Location
    staged: Location
    side: str | None
    by_label: bool = True

    def subtract(self, stale: pa.Table) -> bool:
        """Stages the moments without stale rows; the bits equal those of measuring the others.

        Args:
            stale: a table of `IDENTITY`; the rows are still in the files.

        Returns:
            False if nothing was staged, because the moments are of another version or damaged, or
            because measuring the remaining rows is less work.
        """
        rows = (semi_join(self._rows(file), stale) for file in self.touched)
        batches = (batch for some in rows for batch in some.to_batches())
        try:
            had = read_moments(self.place)
            gone = measured_by_label(batches)
            left = had.subtract(gone)
        except ValueError:
            return False
        if 2 * gone.count > had.count:
            return False
        for label, (low, high) in self._ranges(stale, left.unranged).items():
            left = left.with_range(label, low, high)
        replace(self.staged, left.to_bytes())
        return True

    def _ranges(self, stale: pa.Table, labels: list[Label]) -> dict[Label, tuple[Array, Array]]:
        """The minimum and the maximum of the rows of each label that are not stale."""
        found: dict[Label, tuple[Array, Array]] = {}
        wanted = pa.array(labels, pa.string())
        for file in self.files if labels else ():
            # Most files have images of a few labels only.
            if self.by_label and not _has_labels(file, wanted):
                continue
            rows = self._rows(file)
            rows = anti_join(rows.filter(pc.is_in(rows["label"], wanted)), stale)
            x = matrix(rows["features"].combine_chunks()).astype(np.float64)
            names = np.array(rows["label"].to_pylist(), object)
            for label in set(names.tolist()):
                own = x[names == label]
                low, high = found.get(label, (own[0], own[0]))
                found[label] = np.minimum(low, own.min(axis=0)), np.maximum(high, own.max(axis=0))
        return found

    def _rows(self, file: Location) -> pa.Table:
        return rows_of(file, self.side, by_label=self.by_label)


def _has_labels(file: Location, wanted: pa.Array) -> bool:
    return bool(pc.any(pc.is_in(read_rows(file, ["label"])["label"], wanted)).as_py())


def rows_of(
    file: Location,
    side: str | None,
    paths: pa.ChunkedArray | None = None,
    by_label: bool = True,
) -> pa.Table:
    """The rows of a file to measure.

    Args:
        file: a file of features.
        side: the side of the split, such as "train"; None for all rows.
        paths: the paths of the rows to measure, sorted; None for all.
        by_label: False if no row is to have a label.

    Returns:
        Columns `IDENTITY`, `DERIVED` and ``features``.
    """
    rows = read_rows(file, [*IDENTITY, *DERIVED, "features"])
    if paths is not None:
        rows = rows.filter(in_sorted(rows["path"], paths))
    if side is not None:
        rows = rows.filter(pc.equal(rows["split"], side))
    if not by_label:
        place = rows.schema.get_field_index("label")
        rows = rows.set_column(place, "label", pa.nulls(rows.num_rows, pa.string()))
    return rows


def changed_copy(file: Location, target: Location, stale: pa.Table, changed: pa.Table) -> None:
    """Writes a copy of a file without stale rows, and with the new values of changed ones.

    Args:
        file: a file of features.
        target: the copy.
        stale: the rows to drop, a table of `IDENTITY`.
        changed: new values of `DERIVED`, a table with `IDENTITY` and `DERIVED`.
    """
    rows = anti_join(read_rows(file), stale)
    theirs, alike = _listed(rows, changed)
    for name in DERIVED if changed.num_rows else ():
        new = pc.if_else(alike, theirs[name], rows[name])
        rows = rows.set_column(rows.schema.get_field_index(name), name, new)
    write_rows(target, rows)


def changed_rows(known: pa.Table, listing: pa.Table) -> pa.Table:
    """The known rows whose label or split differs in a listing.

    Args:
        known: a table with the columns of `IDENTITY`, `DERIVED` and ``file``.
        listing: a table with the columns of `IDENTITY` and `DERIVED`.

    Returns:
        Their `IDENTITY`, the values of `DERIVED` in the listing, and their ``file``.
    """
    theirs, alike = _listed(known, listing.select([*IDENTITY, *DERIVED]))
    same = [_equal(known[name].cast(pa.string()), theirs[name]) for name in DERIVED]
    differ = pc.and_not(alike, pc.and_(*same))
    return theirs.append_column("file", known["file"]).filter(differ)


def _listed(rows: pa.Table, listing: pa.Table) -> tuple[pa.Table, pa.ChunkedArray]:
    """The row of a listing for the path of each row, and whether both have the same identity."""
    theirs = listing.take(pc.index_in(rows["path"], listing["path"]))
    path, *rest = (pc.fill_null(pc.equal(rows[name], theirs[name]), False) for name in IDENTITY)
    return theirs, reduce(pc.and_, rest, path)


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether two columns are equal in each row; null equals null."""
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(both_null, pc.fill_null(pc.equal(one, other), False))
