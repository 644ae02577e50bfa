"""Files of features, and moments of them, after rows are dropped or get another label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.moments import Label, measured_by_label
from fruits.features.moments_file import read_moments
from fruits.features.products import Array
from fruits.features.rows import matrix, read_rows, write_rows
from fruits.sources.listing import IDENTITY, anti_join, semi_join
from fruits.storage.files import replace

RULED = ["label", "split"]
"""Columns that follow from the path by rules, which may change."""


@dataclass(frozen=True)
class KeptMoments:
    """Moments that are kept of some rows.

    Attributes:
        files: URIs of the files of rows.
        uri: of the moments.
        staged: URI for new ones.
        side: of the split that the rows are on; None for all rows.
    """

    files: list[str]
    uri: str
    staged: str
    side: str | None

    def subtract(self, stale: pa.Table) -> bool:
        """Stages the moments without stale rows, the same bits as those of measuring the others.

        Args:
            stale: a table of `IDENTITY`; the rows are still in the files.

        Returns:
            False if nothing was staged: the moments are of another version or damaged, or so many
            rows go that measuring those that stay is less work.
        """
        batches = (b for rows in self._rows() for b in semi_join(rows, stale).to_batches())
        try:
            had = read_moments(self.uri)
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
        """The minimum and the maximum of some labels, of the rows that are not stale."""
        found: dict[Label, tuple[Array, Array]] = {}
        wanted = pa.array(labels, pa.string())
        for rows in self._rows() if labels else ():
            rows = anti_join(rows.filter(pc.is_in(rows["label"], wanted)), stale)
            x = matrix(rows["features"].combine_chunks()).astype(np.float64)
            names = np.array(rows["label"].to_pylist(), object)
            for label in set(names.tolist()):
                own = x[names == label]
                low, high = found.get(label, (own[0], own[0]))
                found[label] = np.minimum(low, own.min(axis=0)), np.maximum(high, own.max(axis=0))
        return found

    def _rows(self) -> Iterator[pa.Table]:
        for file in self.files:
            yield rows_of(file, self.side)


def rows_of(uri: str, side: str | None, paths: pa.ChunkedArray | None = None) -> pa.Table:
    """What there is to measure in a file.

    Args:
        uri: of a file of features.
        side: of the split, such as "train"; None for all rows.
        paths: of the rows that count; None for all.

    Returns:
        Columns `IDENTITY`, `RULED` and ``features``.
    """
    rows = read_rows(uri, [*IDENTITY, *RULED, "features"], paths)
    return rows if side is None else rows.filter(pc.equal(rows["split"], side))


def drop_rows(uri: str, stale: pa.Table) -> None:
    """Replaces a file by one without the rows that are in a table of `IDENTITY`."""
    write_rows(uri, anti_join(read_rows(uri), stale))


def changed_rows(known: pa.Table, listing: pa.Table) -> pa.Table:
    """The rows that have another label or split in a listing.

    Args:
        known: a table with the columns of `IDENTITY`, `RULED` and ``file``.
        listing: a table with the columns of `IDENTITY` and `RULED`.

    Returns:
        Their `IDENTITY`, what is in the listing of `RULED`, and their ``file``.
    """
    listed = listing.select([*IDENTITY, *RULED])
    theirs = listed.take(pc.index_in(known["path"], listed["path"]))
    alike = [pc.fill_null(pc.equal(known[name], theirs[name]), False) for name in IDENTITY]
    same = [_equal(known[name].cast(pa.string()), theirs[name]) for name in RULED]
    differ = pc.and_not(pc.and_(pc.and_(*alike[:2]), alike[2]), pc.and_(*same))
    return theirs.append_column("file", known["file"]).filter(differ)


def relabel_rows(uri: str, changed: pa.Table) -> None:
    """Replaces a file by one with other values of `RULED`, given in a table with `IDENTITY`."""
    rows = read_rows(uri)
    own = semi_join(changed, rows)
    place = pc.index_in(rows["path"], own["path"])
    for name in RULED:
        new = pc.if_else(pc.is_valid(place), own[name].take(place), rows[name])
        rows = rows.set_column(rows.schema.get_field_index(name), name, new)
    write_rows(uri, rows)


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether two columns are equal in each row; null equals null."""
    neither = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(neither, pc.fill_null(pc.equal(one, other), False))
