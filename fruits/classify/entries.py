"""The actions for the rows of features in a cross-validation, in files that all tasks can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.rows import read_rows, write_rows
from fruits.sources import parts
from fruits.sources.parts import Parts
from fruits.storage.location import Location

IMAGES = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("fold", pa.int64()),
        ("scored", pa.bool_()),
    ]
)
"""The columns of images; ``scored`` says whether the features are read to score the image."""

ADD, SUBTRACT, SCORE = 1, -1, 0
"""The actions for a row: add its moments, subtract them, or only score it."""

ENTRIES = IMAGES.append(pa.field("sign", pa.int64()))
"""Images with the action: ``sign`` is one of `ADD`, `SUBTRACT` and `SCORE`."""

_FEW = 4
"""The number of files of entries that the tasks of some files of features may read again."""


@dataclass(frozen=True)
class EntriesFile:
    """A file of :data:`ENTRIES`, and the first and the last path in it."""

    place: Location
    first: str
    last: str


def write_entries(rows: Parts, place: Location) -> list[EntriesFile]:
    """Writes entries in files of a part's size, to a location that all tasks can read."""
    return [
        _written(some, place / f"{number:06}.parquet")
        for number, some in enumerate(rows.chunks(parts.PART_ROWS))
    ]


def entries_of(paths: pa.ChunkedArray, entries: Sequence[EntriesFile]) -> pa.Table:
    """The entries of some paths."""
    found = [ENTRIES.empty_table()]
    for file in _near(paths, entries):
        # Arrow hashes the given paths again for each file, so only those that may be in it.
        inside = pc.and_(pc.greater_equal(paths, file.first), pc.less_equal(paths, file.last))
        rows = read_rows(file.place, ENTRIES.names)
        found.append(rows.filter(pc.is_in(rows["path"], paths.filter(inside))).cast(ENTRIES))
    return pa.concat_tables(found)


def divided(
    files: Sequence[Location], entries: Sequence[EntriesFile], place: Location
) -> list[EntriesFile]:
    """The files of entries that the tasks of some files of features need.

    Entries are divided by path. The files of a collection that grew in small steps have rows of all
    paths, so each of their tasks would read all entries. Then their own entries are written to a
    new file.

    Args:
        files: the files of features of some tasks.
        entries: the files of all entries.
        place: the location for a new file.
    """
    tables = [read_rows(file, ["path"]) for file in files]
    paths = pa.concat_tables(tables)["path"]
    near = _near(paths, entries)
    if len(near) <= _FEW:
        return near
    own = entries_of(paths, near)
    return [_written(own, place)] if own.num_rows else []


def _near(paths: pa.ChunkedArray, entries: Sequence[EntriesFile]) -> list[EntriesFile]:
    """The files of entries in the range of some paths."""
    ends = pc.min_max(paths).as_py()
    return [
        file
        for file in entries
        if len(paths) and file.first <= ends["max"] and file.last >= ends["min"]
    ]


def _written(rows: pa.Table, place: Location) -> EntriesFile:
    ends = pc.min_max(rows["path"]).as_py()
    write_rows(place, rows)
    return EntriesFile(place, ends["min"], ends["max"])
