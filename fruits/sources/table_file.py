"""Reads tables in CSV or Parquet batch by batch, so that their length does not matter."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from fruits.sources.columns import require_different
from fruits.sources.listing import ROWS
from fruits.sources.parquet_index import open_parquet
from fruits.storage.files import local_file
from fruits.storage.location import Location
from fruits.storage.walk import stat_file

_WHOLE = r"^\s*-?\d+\.0\s*$"


class TableFile(Protocol):
    """An open table."""

    @property
    def schema(self) -> pa.Schema:
        """The columns; all names are different."""

    @property
    def rows(self) -> int:
        """The number of rows."""

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Reads some columns, some thousand rows at a time.

        Raises:
            pa.ArrowException: the file is damaged.
            OSError: the file cannot be read.
        """


@contextmanager
def open_table(location: Location) -> Iterator[TableFile]:
    """Opens a CSV or Parquet file; all columns of CSV are strings.

    Raises:
        FileNotFoundError: the file is missing.
        OSError: the file cannot be read.
        pa.ArrowException: the file is damaged.
        UnicodeError: the file is not in UTF-8.
        InputError: two columns have the same name.
        StorageError: the store cannot be used.
    """
    if location.path.lower().endswith(".parquet"):
        with open_parquet(location, stat_file(location).length) as file:
            require_different(file.schema_arrow.names, location.uri)
            yield _Parquet(file)
    else:
        with local_file(location.uri) as path:
            yield _Csv.of(path, location.uri)


@dataclass(frozen=True)
class _Parquet:
    """An open Parquet file."""

    file: pq.ParquetFile

    @property
    def schema(self) -> pa.Schema:
        return self.file.schema_arrow

    @property
    def rows(self) -> int:
        return int(self.file.metadata.num_rows)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        for batch in self.file.iter_batches(ROWS, columns=[*columns], use_threads=False):
            yield pa.table(batch).replace_schema_metadata(self.schema.metadata)


@dataclass(frozen=True)
class _Csv:
    """A local CSV file, which was read once: some rules are about all values of a column.

    Attributes:
        columns: The names in the file.
    """

    path: str
    delimiter: str
    columns: tuple[str, ...]
    rows: int = 0
    indented: frozenset[str] = field(default_factory=frozenset)
    whole: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, path: str, uri: str) -> _Csv:
        line = _first_line(path)
        table = cls(path, max(",;\t|", key=line.count), ())
        with table._open() as reader:
            table = replace(table, columns=tuple(reader.schema.names))
        require_different([name.strip() for name in table.columns], uri)
        return table._checked()

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name.strip(), pa.string()) for name in self.columns])

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        names = [name for name in self.columns if name.strip() in columns]
        with self._open(names) as reader:
            for batch in reader:
                values = [self._cleaned(name, batch[name]) for name in names]
                yield pa.table(values, [name.strip() for name in names])

    def _open(self, names: Sequence[str] = ()) -> pacsv.CSVStreamingReader:
        # As bytes, because the path may not be UTF-8.
        return pacsv.open_csv(
            pa.OSFile(os.fsencode(self.path)),
            parse_options=pacsv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(self.columns, pa.string()), include_columns=[*names]
            ),
        )

    def _checked(self) -> _Csv:
        """The table with what is known after all of it was read."""
        about = {name: _About() for name in self.columns}
        rows = 0
        with self._open() as reader:
            for batch in reader:
                rows += batch.num_rows
                for name, one in about.items():
                    one.add(batch[name])
        indented = frozenset(name for name, one in about.items() if one.indented)
        whole = frozenset(name for name, one in about.items() if one.is_whole)
        return replace(self, rows=rows, indented=indented, whole=whole)

    def _cleaned(self, name: str, values: pa.Array) -> pa.Array:
        """The values without what other programs add to all of a column."""
        if name in self.indented:
            values = pc.utf8_ltrim(values, characters=" ")
        if name in self.whole:
            values = pc.replace_substring_regex(values, r"\.0\s*$", "")
        return values


@dataclass
class _About:
    """What is true of all values of a column so far.

    Attributes:
        indented: Some programs write a space after each delimiter: each value begins with a space
            or is empty.
        wholes: Some values are whole numbers, which end in .0.
        others: The other values: "" if they are empty, " " if some of them are spaces, which are
            empty in an indented column; None if pandas did not make fractions of whole numbers,
            since some are missing.
    """

    indented: bool = True
    wholes: bool = False
    others: str | None = ""

    @property
    def is_whole(self) -> bool:
        empty = ("", " ") if self.indented else ("",)
        return self.wholes and self.others in empty

    def add(self, values: pa.Array) -> None:
        starts = pc.or_(pc.starts_with(values, " "), pc.equal(values, ""))
        self.indented = self.indented and _all(starts)
        if self.others is None:
            return
        wholes = pc.match_substring_regex(values, _WHOLE)
        self.wholes = self.wholes or bool(pc.any(wholes).as_py())
        others = values.filter(pc.invert(wholes))
        if not _all(pc.equal(pc.utf8_ltrim(others, characters=" "), "")):
            self.others = None
        elif not _all(pc.equal(others, "")):
            self.others = " "


def _all(values: pa.Array) -> bool:
    return bool(pc.all(values, min_count=0).as_py())


def _first_line(path: str) -> str:
    """The first line that is not empty, without a byte order mark."""
    with open(path, "rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        lines = (line.lstrip(b"\r\n") for line in file)
        return next((line.decode() for line in lines if line), "")
