"""Reads Parquet files with images, and makes their indexes.

A file must be read once to list its images, because Parquet does not store the length of a value.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fruits.errors import InputError
from fruits.sources.columns import (
    KIND_OF,
    image_column,
    is_scalar,
    name_column,
    require_different,
)
from fruits.sources.indexes import Index
from fruits.sources.repeats import repeats
from fruits.storage.location import Location
from fruits.storage.ranges import open_ranges

# Files are read in parts of this many bytes, which limits the memory in addition to the images.
_BUFFER_BYTES = 4 << 20

_LONGEST_BATCH, _BATCH_BYTES = 256, 8 << 20

# The batches whose rows are together in an index: up to 16,384 rows.
_INDEXED_BATCHES = 64


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


# Additional columns of an index; no column of a file has a name that begins like this.
LENGTH, PATH = "\1length", "\1path"

_ROOT = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+:(//[^/]*)?(?![^/]))?/*")
"""The beginning of an absolute path or a URI, such as file:/ or s3a://bucket/."""


def make_index(location: Location, length: int) -> Iterator[pa.Table]:
    """Makes the index of a file: lengths and paths of the images, and the other columns."""
    with open_parquet(location, length) as file:
        schema = file.schema_arrow
        require_different(schema.names, location.uri)
        require_different([*schema.names, LENGTH, PATH], f"{location}, with columns of an index,")
        image = image_column(schema, location.uri)
        if image is None:
            raise InputError(f"images: {location} has no column with the bytes of images")
        others = [one.name for one in schema if is_scalar(one.type) and one.name != image]
        path = name_column(schema)
        kept = pa.schema([schema.field(name) for name in others], schema.metadata)
        kept = kept.append(pa.field(LENGTH, pa.int64())).append(pa.field(PATH, pa.string()))
        unused = [one for one in schema if one.name not in (*others, image)]
        batches = (
            _index_rows(batch, image, path, others).cast(kept)
            for group in range(file.metadata.num_row_groups)
            for about in [file.metadata.row_group(group)]
            for batch in file.iter_batches(
                rows_at_once(about.total_byte_size, about.num_rows),
                row_groups=[group],
                columns=[image, *others],
                use_threads=False,
            )
        )
        yield _with_kinds(pa.Table.from_batches([], kept), unused)
        while some := list(itertools.islice(batches, _INDEXED_BATCHES)):
            yield _with_kinds(pa.Table.from_batches(some, kept), unused)


def _with_kinds(index: pa.Table, unused: list[pa.Field]) -> pa.Table:
    """Adds the types of the columns whose values are not in the index."""
    for one in unused:
        about = pa.field(one.name, pa.null(), metadata={KIND_OF: str(one.type)})
        index = index.append_column(about, pa.nulls(index.num_rows))
    return index


def rows_at_once(total: int, rows: int) -> int:
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
    lengths = pc.cast(pc.binary_length(bytes_of(values)), pa.int64())
    columns = {name: batch[name] for name in others}
    return pa.record_batch({**columns, LENGTH: lengths, PATH: paths})


def names_of(rows: pa.Table) -> list[str]:
    """The paths of images as names, which need not be different; "" if there is none."""
    paths = rows[PATH].to_pylist()
    return [_ROOT.sub("", (path or "").replace("\0", "?")) for path in paths]


def are_names(index: Index) -> bool:
    """Whether all paths are different names."""
    return all("" not in names_of(rows) for rows in index.tables()) and not any(
        repeats(name for rows in index.tables() for name in names_of(rows))
    )


def bytes_of(values: Any) -> Any:
    """The bytes of a column of images as `large_binary`, from any type of binary column."""
    while pa.types.is_struct(values.type):
        values = pc.struct_field(values, "bytes")
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.large_binary())
