"""Collects rows of features to drop, or to give other labels, by the files that have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from fruits.features.changes import DERIVED
from fruits.sources import parts
from fruits.sources.listing import IDENTITY, LISTING
from fruits.sources.spread import FileSpread

_FILE = pa.field("file", pa.string())
_STALE = pa.schema([*map(LISTING.field, IDENTITY), _FILE])
_CHANGED = pa.schema([*map(LISTING.field, [*IDENTITY, *DERIVED]), _FILE])


class Outdated:
    """Rows to drop or to change, so that each file of features is rewritten once.

    They are found in the order of the paths, but a file may have rows of all paths. If there are
    many rows, they wait in temporary files.

    Args:
        sizes: the bytes of the files of features, by name, in the order of the chunks: neighbours
            share moments, so they are rewritten together.
        rows: the number of rows in the files.
    """

    def __init__(self, sizes: Mapping[str, int], rows: int) -> None:
        self._stale = FileSpread(_STALE, sizes, rows)
        self._changed = FileSpread(_CHANGED, sizes, rows)

    def add(self, stale: pa.Table, changed: pa.Table) -> None:
        """Adds rows to drop, and the result of :func:`fruits.features.changes.changed_rows`."""
        self._stale.add(stale.select(_STALE.names).cast(_STALE))
        self._changed.add(changed.select(_CHANGED.names).cast(_CHANGED))

    def __iter__(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yields all rows to drop and to change of some files each; no more rows can be added."""
        waiting: list[tuple[pa.Table, pa.Table]] = []
        for both in zip(self._stale.parts(), self._changed.parts(), strict=True):
            waiting.append(both)
            if sum(rows.num_rows for pair in waiting for rows in pair) >= parts.IN_MEMORY:
                yield _together(waiting)
                waiting = []
        if waiting:
            yield _together(waiting)


def _together(pairs: Sequence[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
    stale, changed = zip(*pairs, strict=True)
    return pa.concat_tables(stale), pa.concat_tables(changed)
