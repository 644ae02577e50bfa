"""Tables of files that may be longer than the memory: cut by path into parts that lie on disk.

Up to :data:`IN_MEMORY` rows are one part, in memory. More are cut at some paths, the *bounds*, into
parts of some hundred thousand rows, each a file in a temporary folder of this machine. Two tables
with the same bounds are compared part by part with the same set operations as small ones
(:mod:`fruits.sources.listing`): a path is in the same part of both. So the results are the same
rows, and this process needs memory for one part only. :mod:`fruits.sources.spread` makes the parts.

That is an external distribution sort (Knuth, "The Art of Computer Programming", volume 3, 5.4).
A join in Spark would do the same, but it needs a session, which a run without changes does without,
and files that all nodes see.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.sources.listing import sample_evenly

IN_MEMORY = 200_000
"""Rows up to which a table of files stays in memory; each takes up to 1 kB while it is compared."""

PART_ROWS = 100_000
"""Rows of a part on disk, about."""


Read = Callable[[], pa.Table]


@dataclass(frozen=True)
class Parts:
    """A table of files, part by part.

    Attributes:
        schema: of each part.
        bounds: the path with which each part but the first begins, in the order of the paths.
        rows: of each part.
        reads: reads each part.
    """

    schema: pa.Schema
    bounds: tuple[str, ...]
    rows: Sequence[int]
    reads: Sequence[Read] = field(repr=False)

    @classmethod
    def of(cls, table: pa.Table) -> Parts:
        """A table that is in memory, as one part."""
        return cls(table.schema, (), [table.num_rows], [lambda: table])

    @property
    def num_rows(self) -> int:
        """Of all parts together."""
        return sum(self.rows)

    def __iter__(self) -> Iterator[pa.Table]:
        """Reads one part after the other."""
        return (read() for read in self.reads)

    def chunks(self, rows: int) -> Iterator[pa.Table]:
        """All rows, in tables of so many rows each; the last one may have fewer."""
        left = self.schema.empty_table()
        for part in self:
            left = pa.concat_tables([left, part])
            whole = left.num_rows - left.num_rows % rows
            for start in range(0, whole, rows):
                yield left.slice(start, rows).combine_chunks()
            left = left.slice(whole)
        if left.num_rows:
            yield left.combine_chunks()

    def evenly(self, limit: int | None) -> Parts:
        """What :func:`fruits.sources.listing.sample_evenly` takes of the whole table."""
        if limit is None or limit >= self.num_rows:
            return self
        if len(self.reads) == 1:
            return Parts.of(sample_evenly(next(iter(self)), limit))
        numbers = np.arange(limit, dtype=np.int64) * self.num_rows // limit
        starts = [0, *itertools.accumulate(self.rows)]
        cuts = np.searchsorted(numbers, starts)
        places = [numbers[cuts[n] : cuts[n + 1]] - start for n, start in enumerate(starts[:-1])]
        reads = [_taken(read, some) for read, some in zip(self.reads, places, strict=True)]
        return Parts(self.schema, self.bounds, [*map(len, places)], reads)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows in memory, or some columns of them."""
        names = list(columns or self.schema.names)
        return pa.concat_tables(part.select(names) for part in self)


@dataclass(frozen=True)
class Totals:
    """What a table of files comes to.

    Attributes:
        rows: how many there are in each part.
        bytes: of all files together.
        largest: bytes of the largest file; 0 where there is none.
        labels: how many files have each label; None for those without.
        sides: how many are on each side of the split; None for those on no side.
    """

    rows: list[int]
    bytes: int
    largest: int
    labels: dict[str | None, int]
    sides: dict[str | None, int]

    @classmethod
    def of(cls, parts: Iterable[pa.Table]) -> Totals:
        """Reads the parts once."""
        rows, lengths, largest = [], 0, 0
        labels, sides = Counter[str | None](), Counter[str | None]()
        for part in parts:
            rows.append(part.num_rows)
            lengths += pc.sum(part["length"]).as_py() or 0
            largest = max(largest, pc.max(part["length"]).as_py() or 0)
            labels.update(_counted(part["label"]))
            sides.update(_counted(part["split"]))
        return cls(rows, lengths, largest, dict(labels), dict(sides))


def _counted(column: pa.ChunkedArray) -> dict[str | None, int]:
    return {one["values"]: one["counts"] for one in column.value_counts().to_pylist()}


@dataclass(frozen=True)
class Found:
    """What a source contains, as :class:`fruits.sources.listing.Listing` has it, in parts.

    Attributes:
        images: all of them.
        passed_over: how many files are no images, by reason.
        linked: real paths of the folders to which links in the images led.
    """

    images: Parts
    passed_over: dict[str, int] = field(default_factory=dict)
    linked: list[str] = field(default_factory=list)


def _taken(read: Read, places: NDArray[np.int64]) -> Read:
    return lambda: read().take(places)
