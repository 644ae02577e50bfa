"""Cuts tables of files into parts: see :mod:`fruits.sources.parts`."""

from __future__ import annotations

import itertools
import tempfile
import uuid
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.sources import parts
from fruits.sources.boxes import photographs
from fruits.sources.parts import Parts, Read

MOST_PARTS = 500
"""Parts of a table, at most: a file is open for each of them while they are written."""

_SAMPLES = 200
"""Of as many rows as a part has, so many paths may become bounds."""


class Spread:
    """Distributes rows over parts with given bounds; without bounds, they stay in memory.

    Args:
        schema: of the rows.
        bounds: those of the table with which the rows are compared.
    """

    def __init__(self, schema: pa.Schema, bounds: Sequence[str] = ()) -> None:
        self._schema = schema
        self._bounds = tuple(bounds)
        self._parts: list[_Memory | _File]
        if bounds:
            folder = tempfile.TemporaryDirectory(prefix="fruits-")
            self._parts = [_File(schema, folder) for _ in range(len(bounds) + 1)]
        else:
            self._parts = [_Memory(schema)]

    def add(self, rows: pa.Table) -> None:
        """Adds rows, in any order; rows of one part keep their order."""
        if not rows.num_rows:
            return
        if len(self._parts) == 1:
            self._parts[0].add(rows)
            return
        for number, some in _cut(rows, self._bounds):
            self._parts[number].add(some)

    def add_to(self, number: int, rows: pa.Table) -> None:
        """Adds rows that are known to be in a part."""
        if rows.num_rows:
            self._parts[number].add(rows)

    def parts(self) -> Parts:
        """What was added; nothing can be added any more."""
        rows = [part.num_rows for part in self._parts]
        return Parts(self._schema, self._bounds, rows, [part.close() for part in self._parts])


def gather(tables: Iterable[pa.Table], schema: pa.Schema, sort: bool = False) -> Parts:
    """A table whose rows come bit by bit: one part if it is short, else parts sorted by path.

    Args:
        tables: the rows.
        schema: of the rows.
        sort: whether a short one is sorted, too; else its rows keep their order.
    """
    held: list[pa.Table] = []
    stream = iter(tables)
    for table in stream:
        held.append(table)
        if sum(one.num_rows for one in held) > parts.IN_MEMORY:
            break
    else:
        table = pa.concat_tables([schema.empty_table(), *held])
        return Parts.of(table.sort_by("path").combine_chunks() if sort else table)
    return _sorted(itertools.chain(held, stream), schema)


def _sorted(tables: Iterable[pa.Table], schema: pa.Schema) -> Parts:
    """Cuts a long table into parts, and sorts each of them."""
    folder = tempfile.TemporaryDirectory(prefix="fruits-")
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
    del runs, folder  # All of it is in the parts now.
    return _each_sorted(spread.parts())


def _each_sorted(unsorted: Parts) -> Parts:
    spread = Spread(unsorted.schema, unsorted.bounds)
    for number, part in enumerate(unsorted):
        spread.add_to(number, part.sort_by("path"))
    return spread.parts()


def _blocks(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of about so many."""
    held: list[pa.Table] = []
    for table in tables:
        for start in range(0, table.num_rows, rows):
            held.append(table.slice(start, rows))
            if sum(one.num_rows for one in held) >= rows:
                yield pa.concat_tables(held)
                held = []
    if held:
        yield pa.concat_tables(held)


def _cut(rows: pa.Table, bounds: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each part that has some, with its number."""
    # A box is where its photograph is: other paths may lie between those of the two.
    keys = photographs(rows["path"])
    order = pc.sort_indices(keys)
    rows, paths = rows.take(order).combine_chunks(), _Paths(keys.take(order).combine_chunks())
    cuts = [0, *(bisect_left(paths, bound) for bound in bounds), rows.num_rows]
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        if stop > start:
            yield number, rows.slice(start, stop - start)


class _Paths(Sequence[str]):
    """A column of strings, of which only those are made that are asked for."""

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
    """Rows in a file of Arrow's, in a temporary folder that lives as long as its files are used."""

    def __init__(self, schema: pa.Schema, folder: tempfile.TemporaryDirectory[str]) -> None:
        self.num_rows = 0
        self._schema = schema
        self._folder = folder
        self._path = Path(folder.name) / f"{uuid.uuid4().hex}.arrow"
        self._writer: pa.RecordBatchStreamWriter | None = None

    def add(self, rows: pa.Table) -> None:
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_stream(str(self._path), self._schema, options=options)
        self._writer.write_table(rows.cast(self._schema))
        self.num_rows += rows.num_rows

    def close(self) -> Read:
        if self._writer is None:
            empty = self._schema.empty_table()
            return lambda: empty
        self._writer.close()
        folder, path = self._folder, self._path

        def read() -> pa.Table:
            with pa.OSFile(str(Path(folder.name) / path.name)) as file:
                return pa.ipc.open_stream(file).read_all()

        return read
