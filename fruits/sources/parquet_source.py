"""Parquet files with the bytes of images as a source, as used by Hugging Face's datasets.

The column is binary, or a struct with `bytes` and `path`. The path may also be in another column,
as in the tables of Spark's data source ``binaryFile``. A file must be read once to list its images,
because Parquet does not store the length of a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fruits.errors import InputError, one_line
from fruits.sources.archive import damaged
from fruits.sources.columns import (
    KIND_OF,
    image_column,
    is_scalar,
    label_facts,
    name_column,
    require_different,
)
from fruits.sources.indexes import cached_index
from fruits.sources.listing import Listing
from fruits.sources.members import Member, Position, listed, positions
from fruits.sources.naming import Naming
from fruits.sources.neighbours import refusal
from fruits.storage.ahead import one_ahead
from fruits.storage.failures import store_errors
from fruits.storage.location import Location
from fruits.storage.ranges import open_ranges
from fruits.storage.walk import stat_file

KIND = "parquet"

# Files are read in parts of this many bytes, which limits the memory in addition to the images.
_BUFFER_BYTES = 4 << 20

_LONGEST_BATCH, _BATCH_BYTES = 256, 8 << 20


@dataclass(frozen=True)
class ParquetImages:
    """A Parquet file with the bytes of images: a :class:`fruits.sources.source.Lister`.

    Attributes:
        place: The path or URI of the file.
        naming: The rules for labels and splits, by name or by column.
    """

    place: str
    naming: Naming = field(default_factory=Naming)

    def items(self) -> Listing:
        """Lists all images, see :meth:`fruits.sources.source.Lister.items`."""
        return Listing(list_parquet(self.place, self.naming))


@contextmanager
def open_parquet(location: Location, length: int) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file so that columns are read in small parts."""
    if location.is_local:
        # As bytes, because a name may not be UTF-8.
        opened = pa.OSFile(os.fsencode(location.path))
    else:
        opened = pa.PythonFile(open_ranges(location, length), mode="r")
    with opened, pq.ParquetFile(opened, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
        yield file


def list_parquet(place: str | Location, naming: Naming) -> pa.Table:
    """Lists the images of a Parquet file, as rows of :data:`fruits.sources.members.ITEMS`.

    Raises:
        InputError: the file is missing or damaged, or has no images.
        StorageError: the store cannot be used.
    """
    location = Location.of(place)
    try:
        with store_errors(location.uri):
            entry = stat_file(location)
            index = cached_index(KIND, location, entry, lambda: _made(location, entry.length))
            facts = label_facts(index.drop_columns([_LENGTH, _PATH]), naming, location.uri)
    except FileNotFoundError:
        raise InputError(f"images: wanted a Parquet file; {place} does not exist") from None
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise InputError(
            f"images: wanted a complete Parquet file; {place} cannot be read ({one_line(error)}): "
            "copy it again"
        ) from error
    members = [
        Member(
            name,
            *(length or 0, number, 1, length or 0),
            reason=None if length is not None else "no bytes in this row",
            label=label,
            split=split,
            group=group,
        )
        for number, (name, length, label, split, group) in enumerate(
            zip(_names(index), index[_LENGTH].to_pylist(), *facts.values(), strict=True)
        )
    ]
    return listed(KIND, location.uri, entry.modified, members, naming, is_folder=False)


def read_rows(items: pa.Table) -> Iterator[bytes | OSError]:
    """Yields the contents of rows of Parquet files, in order; each row group is read once.

    Args:
        items: rows of :data:`fruits.sources.members.ITEMS`.
    """
    for uri, rows in groupby(positions(items), key=lambda row: row.uri):
        for contents in one_ahead(_read_file(uri, list(rows))):
            yield from contents


# Additional columns of an index; no column of a file has a name that begins like this.
_LENGTH, _PATH = "\1length", "\1path"

_ROOT = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+:(//[^/]*)?)?/*")
"""The beginning of an absolute path or a URI, such as file:/ or s3a://bucket/."""


def _made(location: Location, length: int) -> pa.Table:
    """Makes the index of a file: lengths and paths of the images, and the other columns."""
    with open_parquet(location, length) as file:
        schema = file.schema_arrow
        require_different(schema.names, location.uri)
        require_different([*schema.names, _LENGTH, _PATH], f"{location}, with columns of an index,")
        image = image_column(schema, location.uri)
        if image is None:
            raise InputError(f"images: {location} has no column with the bytes of images")
        others = [one.name for one in schema if is_scalar(one.type) and one.name != image]
        path = name_column(schema)
        batches = [
            _index_rows(batch, image, path, others)
            for group in range(file.metadata.num_row_groups)
            for about in [file.metadata.row_group(group)]
            for batch in file.iter_batches(
                _rows_at_once(about.total_byte_size, about.num_rows),
                row_groups=[group],
                columns=[image, *others],
                use_threads=False,
            )
        ]
    kept = pa.schema([schema.field(name) for name in others], schema.metadata)
    kept = kept.append(pa.field(_LENGTH, pa.int64())).append(pa.field(_PATH, pa.string()))
    index = pa.Table.from_batches([batch.cast(kept) for batch in batches], kept)
    for one in schema:
        if one.name not in (*others, image):
            about = pa.field(one.name, pa.null(), metadata={KIND_OF: str(one.type)})
            index = index.append_column(about, pa.nulls(index.num_rows))
    return index


def _rows_at_once(total: int, rows: int) -> int:
    """How many of some rows with this total length in bytes are read together."""
    return max(1, min(_LONGEST_BATCH, _BATCH_BYTES * rows // max(1, total)))


def _index_rows(
    batch: pa.RecordBatch, image: str, path: str | None, others: list[str]
) -> pa.RecordBatch:
    values = batch[image]
    paths: Any = pc.cast(batch[path] if path else pa.nulls(len(values)), pa.string())
    if pa.types.is_struct(values.type) and values.type.get_field_index("path") >= 0:
        own = pc.cast(pc.struct_field(values, "path"), pa.string())
        paths = pc.if_else(pc.equal(pc.fill_null(own, ""), ""), paths, own)
    lengths = pc.cast(pc.binary_length(_bytes_of(values)), pa.int64())
    columns = {name: batch[name] for name in others}
    return pa.record_batch({**columns, _LENGTH: lengths, _PATH: paths})


def _names(index: pa.Table) -> list[str]:
    """The names of rows: their paths if these are unique, otherwise with the row number."""
    paths = index[_PATH].to_pylist()
    rest = [_ROOT.sub("", (path or "").replace("\0", "?")) for path in paths]
    if all(rest) and len(set(rest)) == len(rest):
        return rest
    return [f"{path}#{number}" if path else str(number) for number, path in enumerate(rest)]


def _read_file(uri: str, rows: list[Position]) -> Iterator[list[bytes | OSError]]:
    """Yields the contents of rows of one file, batch by batch."""
    done = 0
    try:
        location = Location.of(uri)
        with open_parquet(location, stat_file(location).length) as file:
            for contents in _read_groups(file, rows):
                done += len(contents)
                yield contents
    except (OSError, pa.ArrowException, InputError, UnicodeError) as error:
        reason = f"the Parquet file cannot be read ({one_line(error)})"
        yield [refusal(row) or damaged(reason) for row in rows[done:]]


def _read_groups(file: pq.ParquetFile, rows: list[Position]) -> Iterator[list[bytes | OSError]]:
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    ends = np.cumsum(sizes)
    column = image_column(file.schema_arrow, "the file")
    if column is None:
        raise InputError("it no longer has images")

    def group_of(row: Position) -> int:
        return int(np.searchsorted(ends, row.offset, side="right"))

    for group, some in groupby(rows, key=group_of):
        wanted = list(some)
        if group == len(sizes):
            fewer = "the file has fewer rows than before"
            yield [refusal(row) or damaged(fewer) for row in wanted]
            continue
        start = int(ends[group]) - sizes[group]
        if any(a.offset > b.offset for a, b in pairwise(wanted)):
            # Rows that are not in the order of the file are rare; each needs its own read.
            for row in wanted:
                yield from _read_group(file, group, column, start, [row])
        else:
            yield from _read_group(file, group, column, start, wanted)


def _read_group(
    file: pq.ParquetFile, group: int, column: str, start: int, rows: list[Position]
) -> Iterator[list[bytes | OSError]]:
    """Yields rows of a row group in order; `start` is the number of its first row."""
    size = _rows_at_once(sum(row.length for row in rows), len(rows))
    done = 0
    for batch in file.iter_batches(size, row_groups=[group], columns=[column], use_threads=False):
        values, stop = _bytes_of(batch[column]), start + batch.num_rows
        contents: list[bytes | OSError] = []
        while done < len(rows) and rows[done].offset < stop:
            contents.append(_one(rows[done], values[rows[done].offset - start]))
            done += 1
        start = stop
        if contents:
            yield contents
        if done == len(rows):
            return


def _one(row: Position, value: Any) -> bytes | OSError:
    if refused := refusal(row):
        return refused
    content: bytes | None = value.as_py()
    if content is None or len(content) != row.length:
        return damaged("this row has another image: the file was changed")
    return content


def _bytes_of(values: Any) -> Any:
    """The bytes of a column of images as `large_binary`, from any type of binary column."""
    while pa.types.is_struct(values.type):
        values = pc.struct_field(values, "bytes")
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.large_binary())
