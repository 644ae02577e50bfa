"""The rejected images of a chunk, in Parquet files in ``features/_rejected``.

A manifest has the name and the number of rows of each file, so the files are read only on request,
one after the other. Earlier versions stored the rows in the manifest itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import OutputError
from fruits.features.rows import REJECTED, read_rows, write_rows
from fruits.storage.location import Location

REJECTED_FOLDER = "_rejected"

UNREADABLE = "unreadable"
"""The prefix of the error of images that could not be read, but may be readable later."""

ROWS_OF_A_FILE = 50_000
"""Files with fewer rows are joined when their chunks are joined: 15 MB in memory."""


@dataclass(frozen=True)
class RejectFile:
    """A file of rejects: its name in ``features/_rejected``, and how many rows it has."""

    name: str
    rows: int


@dataclass(frozen=True)
class Rejects:
    """The rejects of a chunk.

    Attributes:
        root: The folder ``features``.
        files: The files with the rejects.
        inline: A table of :data:`REJECTED` that an earlier version stored in the manifest.
    """

    root: Location
    files: tuple[RejectFile, ...] = ()
    inline: pa.Table | None = None

    @property
    def num_rows(self) -> int:
        """The number of rejects; no file is read."""
        inline = self.inline.num_rows if self.inline is not None else 0
        return inline + sum(file.rows for file in self.files)

    @property
    def names(self) -> list[str]:
        """The names of the files, relative to the folder ``features``."""
        return [f"{REJECTED_FOLDER}/{file.name}" for file in self.files]

    def tables(self) -> Iterator[pa.Table]:
        """Reads the rejects file by file, as tables of :data:`REJECTED`.

        Raises:
            OutputError: a file is missing, damaged, or has another number of rows than expected.
        """
        if self.inline is not None:
            yield self.inline
        for file in self.files:
            yield self._read(file)

    def _read(self, file: RejectFile) -> pa.Table:
        place = self.root / REJECTED_FOLDER / file.name
        rows = read_rows(place, REJECTED.names).cast(REJECTED)
        if rows.num_rows != file.rows:
            raise OutputError(
                f"output: {place} is damaged: wanted {file.rows:,} rows; it has {rows.num_rows:,}: "
                "restore it from a copy, or run again with overwrite"
            )
        return rows

    def to_json(self) -> list[dict[str, Any]]:
        """The content for the manifest; rows of an earlier version must be in a file already."""
        return [{"file": file.name, "rows": file.rows} for file in self.files]


def without_unreadable(rows: pa.Table) -> pa.Table:
    """The rejects that would be rejected again, without those that could not be read."""
    return rows.filter(pc.invert(pc.starts_with(rows["error"], UNREADABLE)))


def write_rejects(root: Location, rows: pa.Table) -> Rejects:
    """Writes a table of :data:`REJECTED`; it is committed when a manifest names its file.

    Args:
        root: the folder ``features``.
        rows: the rejects; if there are none, no file is written.
    """
    if not rows.num_rows:
        return Rejects(root)
    name = f"{uuid.uuid4().hex}.parquet"
    write_rows(root / REJECTED_FOLDER / name, rows)
    return Rejects(root, (RejectFile(name, rows.num_rows),))


def join_rejects(root: Location, parts: Sequence[Rejects]) -> Rejects:
    """Joins the rejects of several chunks: small files become one, large files do not change.

    New files do not include images that could not be read, because each run tries them again and
    commits them again.
    """
    kept: list[RejectFile] = []
    tables: list[pa.Table] = []
    small: list[RejectFile] = []

    def write() -> None:
        rows = pa.concat_tables(tables)
        unchanged = len(tables) == len(small) == 1 and rows.num_rows == small[0].rows
        kept.extend(small if unchanged else write_rejects(root, rows).files)
        tables.clear()
        small.clear()

    for part in parts:
        kept += [file for file in part.files if file.rows >= ROWS_OF_A_FILE]
        few = tuple(file for file in part.files if file.rows < ROWS_OF_A_FILE)
        small += few
        tables += map(without_unreadable, Rejects(root, few, part.inline).tables())
        if sum(table.num_rows for table in tables) >= ROWS_OF_A_FILE:
            write()
    if tables:
        write()
    return Rejects(root, tuple(kept))
