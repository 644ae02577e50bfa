"""Tables of files that may be larger than the memory, divided by path into parts on disk.

A table with up to :data:`IN_MEMORY` rows is one part, in memory. A larger table is divided at some
paths, the *bounds*, into parts of about a hundred thousand rows, each a file in a temporary folder
of this machine. Two tables with the same bounds are compared part by part with the same set
operations as small tables (:mod:`fruits.sources.listing`), because a path is in the same part of
both. The results are the same, and only one part is in memory at a time.
:mod:`fruits.sources.spread` makes the parts.

This is an external distribution sort (Knuth, "The Art of Computer Programming", volume 3, 5.4).
A join in Spark would do the same, but it needs files that all nodes can read, and a session, which
a run without changes does not start.
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
from fruits.sources.members import in_file_order
from fruits.sources.row_counts import RowCounts, value_counts

IN_MEMORY = 200_000
"""The most rows of a table in memory; each row needs up to 1 kB while tables are compared."""

PART_ROWS = 100_000
"""The approximate number of rows of a part on disk."""


Read = Callable[[], pa.Table]


@dataclass(frozen=True)
class Parts:
    """A table of files, part by part.

    Attributes:
        schema: The schema of each part.
        bounds: The first path of each part but the first, sorted.
        rows: The number of rows of each part.
        reads: A function for each part that reads it.
    """

    schema: pa.Schema
    bounds: tuple[str, ...]
    rows: Sequence[int]
    reads: Sequence[Read] = field(repr=False)

    @classmethod
    def of(cls, table: pa.Table) -> Parts:
        """A table in memory, as one part."""
        return cls(table.schema, (), [table.num_rows], [lambda: table])

    @property
    def num_rows(self) -> int:
        """The number of rows of all parts."""
        return sum(self.rows)

    def __iter__(self) -> Iterator[pa.Table]:
        """Reads one part after the other."""
        return (read() for read in self.reads)

    def chunks(self, rows: int) -> Iterator[pa.Table]:
        """Yields all rows in tables of `rows` rows each; the last one may have fewer."""
        left = self.schema.empty_table()
        for part in self:
            left = pa.concat_tables([left, part])
            whole = left.num_rows - left.num_rows % rows
            for start in range(0, whole, rows):
                yield left.slice(start, rows).combine_chunks()
            left = left.slice(whole)
        if left.num_rows:
            yield left.combine_chunks()

    def in_file_order(self) -> Parts:
        """The same parts, each in the order of :func:`fruits.sources.members.in_file_order`."""
        return Parts(self.schema, self.bounds, self.rows, [*map(_in_file_order, self.reads)])

    def sample_evenly(self, limit: int | None) -> Parts:
        """Samples rows like :func:`fruits.sources.listing.sample_evenly`."""
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
        """Reads all rows into memory, with all or some columns."""
        names = list(columns or self.schema.names)
        return pa.concat_tables(part.select(names) for part in self)


@dataclass(frozen=True)
class Totals:
    """Sums over a table of files.

    Attributes:
        rows: The number of rows of each part.
        bytes: The length of all files together.
        largest: The length of the largest file in bytes; 0 if there is none.
        labels: The number of files by label, a table with the columns ``label`` and ``images``;
            null for files without a label.
        sides: The number of files by side of the split; None for files on no side.
        labelled: The number of files with a label by side of the split, like `sides`.
    """

    rows: list[int]
    bytes: int
    largest: int
    labels: pa.Table
    sides: dict[str | None, int]
    labelled: dict[str | None, int]

    @classmethod
    def of(cls, parts: Iterable[pa.Table]) -> Totals:
        """Computes the sums in one pass."""
        rows, lengths, largest = [], 0, 0
        labels = RowCounts("label")
        sides, labelled = Counter[str | None](), Counter[str | None]()
        for part in parts:
            rows.append(part.num_rows)
            lengths += pc.sum(part["length"]).as_py() or 0
            largest = max(largest, pc.max(part["length"]).as_py() or 0)
            labels.add(part)
            sides.update(value_counts(part["split"]))
            labelled.update(value_counts(part["split"].filter(pc.is_valid(part["label"]))))
        return cls(rows, lengths, largest, labels.table(), dict(sides), dict(labelled))

    @property
    def different_labels(self) -> int:
        """The number of different labels."""
        return len(self.labels["label"].drop_null())


@dataclass(frozen=True)
class Found:
    """The images in a source, see :func:`fruits.sources.open_source.list_place`.

    Attributes:
        images: All images, with the columns :data:`fruits.sources.listing.LISTING` or
            :data:`fruits.sources.members.ITEMS`. `path` is a URI as Spark's `binaryFile` source
            writes it, `length` is in bytes; `label` and `split` (train, test or validation) are
            null if the path has none.
        passed_over: The number of skipped files by reason, see
            :attr:`fruits.sources.selection.Selection.passed_over`.
        linked: The real paths of folders outside the images that links lead to.
    """

    images: Parts
    passed_over: dict[str, int] = field(default_factory=dict)
    linked: list[str] = field(default_factory=list)


def _in_file_order(read: Read) -> Read:
    return lambda: in_file_order(read())


def _taken(read: Read, places: NDArray[np.int64]) -> Read:
    return lambda: read().take(places)
