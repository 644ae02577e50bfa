"""Divides tables of files into parts, see :mod:`fruits.sources.parts`."""

from __future__ import annotations

import itertools
import tempfile
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.sources import parts
from fruits.sources.boxes import photographs
from fruits.sources.parts import Parts, Read
from fruits.storage.temporary import temporary_folder, temporary_writes

MOST_PARTS = 500
"""The most parts of a table: with more, most additions to a part would be a few rows."""

_SAMPLES = 200
"""The number of paths per part among which the bounds are chosen."""

Change = Callable[[pa.Table], pa.Table]
"""Changes the rows of a part; it has all rows with a path if it has one, in the order they came."""


def unchanged(part: pa.Table) -> pa.Table:
    """The same rows."""
    return part


class Spread:
    """Distributes rows over parts with given bounds; without bounds, rows stay in memory.

    Args:
        schema: the schema of the rows.
        bounds: the bounds of the table with which the rows are compared.
    """

    def __init__(self, schema: pa.Schema, bounds: Sequence[str] = ()) -> None:
        self._schema = schema
        self._bounds = tuple(bounds)
        self._parts: list[_Memory | _File]
        if bounds:
            folder = temporary_folder()
            self._parts = [_File(schema, folder) for _ in range(len(bounds) + 1)]
        else:
            self._parts = [_Memory(schema)]

    def add(self, rows: pa.Table) -> None:
        """Adds rows in any order; rows of one part keep their order."""
        if not rows.num_rows:
            return
        if len(self._parts) == 1:
            self._parts[0].add(rows)
            return
        for number, some in _cut(rows, self._bounds):
            self._parts[number].add(some)

    def add_to(self, number: int, rows: pa.Table) -> None:
        """Adds rows to a part, which must be the right one for them."""
        if rows.num_rows:
            self._parts[number].add(rows)

    def parts(self) -> Parts:
        """The parts with all added rows; no more rows can be added."""
        rows = [part.num_rows for part in self._parts]
        return Parts(self._schema, self._bounds, rows, [part.close() for part in self._parts])


class FileSpread:
    """Distributes rows over parts by the file of features that has them, also in temporary files.

    Rows that are found in the order of the paths may be in any file. In this way, what concerns a
    file is in one part.

    Args:
        schema: the schema of the rows, with the column ``file``, the name of the file.
        sizes: the bytes of each file, by name, in an order in which neighbours share a part. The
            files of a part have about the same number of bytes, and so of rows, as those of others.
        rows: the number of rows, at most; a few of them stay in memory.
    """

    def __init__(self, schema: pa.Schema, sizes: Mapping[str, int], rows: int) -> None:
        self._files = pa.array(sizes, pa.string())
        wanted = -(-rows // parts.PART_ROWS) if rows > parts.IN_MEMORY else 1
        count = max(1, min(wanted, MOST_PARTS))
        ends = np.cumsum([0, *sizes.values()])
        numbers = ends[:-1] * count // max(ends[-1], 1)
        used, first, self._part = np.unique(numbers, return_index=True, return_inverse=True)
        self._count = max(1, len(used))
        self._spread = Spread(schema, [self._files[at].as_py() for at in first[1:].tolist()])

    def add(self, rows: pa.Table) -> None:
        """Adds rows in any order; all their files must be known."""
        places = pc.index_in(rows["file"], self._files).to_numpy()
        numbers = self._part[places.astype(np.int64)]
        order = np.argsort(numbers, kind="stable")
        cuts = np.searchsorted(numbers[order], np.arange(self._count + 1))
        rows = rows.take(order)
        for number, (start, stop) in enumerate(itertools.pairwise(cuts.tolist())):
            self._spread.add_to(number, rows.slice(start, stop - start))

    def parts(self) -> Parts:
        """The parts, in the order of the files; no more rows can be added."""
        return self._spread.parts()


def gather(
    tables: Iterable[pa.Table], schema: pa.Schema, sort: bool = False, change: Change = unchanged
) -> Parts:
    """Collects a stream of tables: one part if they are short, otherwise parts sorted by path.

    Args:
        tables: the rows.
        schema: the schema of the rows.
        sort: whether a single part is sorted, too; otherwise its rows keep their order.
        change: changes the rows of each part, such as those with the same path.
    """
    buffered: list[pa.Table] = []
    count = 0
    stream = iter(tables)
    for table in stream:
        buffered.append(table)
        count += table.num_rows
        if count > parts.IN_MEMORY:
            break
    else:
        table = pa.concat_tables([schema.empty_table(), *buffered])
        return Parts.of(change(table.sort_by("path").combine_chunks() if sort else table))
    return _sorted(itertools.chain(buffered, stream), schema, change)


def _sorted(tables: Iterable[pa.Table], schema: pa.Schema, change: Change) -> Parts:
    """Divides a long table into parts, sorts each part, and changes it."""
    folder = temporary_folder()
    runs: list[Read] = []
    samples: list[str] = []
    count = 0
    for run in _blocks(tables, parts.PART_ROWS):
        run = run.sort_by("path")
        step = max(1, parts.PART_ROWS // _SAMPLES)
        samples += run["path"].take(np.arange(0, run.num_rows, step)).to_pylist()
        file = _File(schema, folder)
        file.add(run)
        runs.append(file.close())
        count += run.num_rows
    samples.sort()
    wanted = min(MOST_PARTS, -(-count // parts.PART_ROWS))
    bounds = sorted({samples[len(samples) * n // wanted] for n in range(1, wanted)})
    spread = Spread(schema, bounds)
    for read in runs:
        spread.add(read())
    del runs, folder  # Delete the files: all rows are in the parts now.
    return each_sorted(spread.parts(), change)


def each_sorted(unsorted: Parts, change: Change = unchanged) -> Parts:
    """The same rows, sorted by path within each part, which is then changed."""
    spread = Spread(change(unsorted.schema.empty_table()).schema, unsorted.bounds)
    for number, part in enumerate(unsorted):
        spread.add_to(number, change(part.sort_by("path")))
    return spread.parts()


def divide(rows: Parts, bounds: Sequence[str]) -> Parts:
    """The same rows, divided by other bounds, and sorted by path within each part."""
    spread = Spread(rows.schema, bounds)
    for part in rows:
        spread.add(part)
    return each_sorted(spread.parts())


def _blocks(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yields the same rows in tables of about `rows` rows."""
    buffered: list[pa.Table] = []
    count = 0
    for table in tables:
        for start in range(0, table.num_rows, rows):
            buffered.append(table.slice(start, rows))
            count += buffered[-1].num_rows
            if count >= rows:
                yield pa.concat_tables(buffered)
                buffered, count = [], 0
    if buffered:
        yield pa.concat_tables(buffered)


def _cut(rows: pa.Table, bounds: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """Yields the number of each part that gets rows, and its rows."""
    # A box must be in the part of its photograph, but other paths may sort between them.
    keys = photographs(rows["path"])
    order = pc.sort_indices(keys)
    rows, paths = rows.take(order).combine_chunks(), _Paths(keys.take(order).combine_chunks())
    cuts = [0, *(bisect_left(paths, bound) for bound in bounds), rows.num_rows]
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        if stop > start:
            yield number, rows.slice(start, stop - start)


class _Paths(Sequence[str]):
    """A column as a sequence of strings, which are converted only on access."""

    def __init__(self, column: pa.Array) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        return str(self._column[place].as_py())


class _Memory:
    """Rows in memory."""

    def __init__(self, schema: pa.Schema) -> None:
        self.num_rows = 0
        self._tables = [schema.empty_table()]

    def add(self, rows: pa.Table) -> None:
        self._tables.append(rows)
        self.num_rows += rows.num_rows

    def close(self) -> Read:
        table = pa.concat_tables(self._tables)
        return lambda: table


class _File:
    """Rows in an Arrow file, in a temporary folder that exists as long as its files are used.

    Each addition is a stream of its own at the end of the file, which is open only meanwhile: some
    tables with hundreds of parts are written at the same time, and systems limit open files.
    """

    def __init__(self, schema: pa.Schema, folder: tempfile.TemporaryDirectory[str]) -> None:
        self.num_rows = 0
        self._schema = schema
        self._folder = folder
        self._path = Path(folder.name) / f"{uuid.uuid4().hex}.arrow"

    def add(self, rows: pa.Table) -> None:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            temporary_writes(),
            pa.OSFile(str(self._path), "ab") as file,
            pa.ipc.new_stream(file, self._schema, options=options) as stream,
        ):
            stream.write_table(rows.cast(self._schema))
        self.num_rows += rows.num_rows

    def close(self) -> Read:
        if not self.num_rows:
            empty = self._schema.empty_table()
            return lambda: empty
        folder, path = self._folder, self._path

        def read() -> pa.Table:
            tables = []
            with pa.OSFile(str(Path(folder.name) / path.name)) as file:
                while file.tell() < file.size():
                    tables.append(pa.ipc.open_stream(file).read_all())
            return pa.concat_tables(tables)

        return read
