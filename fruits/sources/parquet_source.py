"""Parquet files with the bytes of images, as Hugging Face's datasets have them.

The column is binary, or a struct with `bytes` and `path`. What is in a file is known after one pass
over it, since Parquet does not say how long a value is.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fruits.errors import InputError, one_line
from fruits.sources.archive import BLOCK_BYTES, READS, damaged, refusal
from fruits.sources.columns import image_column, require_different, said
from fruits.sources.indexes import indexed
from fruits.sources.listing import Listing
from fruits.sources.members import Member, Place, listed, places
from fruits.sources.naming import Naming
from fruits.storage.failures import store_errors
from fruits.storage.location import Location
from fruits.storage.ranges import open_ranges
from fruits.storage.walk import look_at

KIND = "parquet"

# A file is read in parts of so many bytes; nothing larger is in memory in addition to the images.
_BUFFER_BYTES = 4 << 20

_LONGEST_BATCH = 256

Item = TypeVar("Item")


@dataclass(frozen=True)
class ParquetImages:
    """Parquet files with the bytes of images: a :class:`fruits.sources.source.Lister`.

    Attributes:
        places: their paths or URIs.
        naming: the rules by which names give labels and splits, or the columns that have them.
    """

    places: tuple[str, ...]
    naming: Naming = field(default_factory=Naming)

    def items(self) -> Listing:
        """Every image in them: see :meth:`fruits.sources.source.Lister.items`."""
        with ThreadPoolExecutor(READS) as pool:
            tables = list(pool.map(lambda place: list_parquet(place, self.naming), self.places))
        return Listing(pa.concat_tables(tables))


def open_parquet(location: Location, length: int) -> pq.ParquetFile:
    """Opens a Parquet file so that columns are read in small parts."""
    local = location.is_local
    file = location.path if local else pa.PythonFile(open_ranges(location, length), mode="r")
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES)


def list_parquet(place: str | Location, naming: Naming) -> pa.Table:
    """The images of a Parquet file, rows of :data:`fruits.sources.members.ITEMS`.

    Raises:
        InputError: there is no such file, it is damaged, or has no images.
        StorageError: the store cannot be used.
    """
    location = Location.of(place)
    try:
        with store_errors(location.uri):
            entry = look_at(location)
            index = indexed(KIND, location, entry, lambda: _made(location, entry.length))
            facts = said(index, naming, location.uri)
    except FileNotFoundError:
        raise InputError(f"images: wanted a Parquet file; {place} does not exist") from None
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise InputError(
            f"images: wanted a whole Parquet file; {place} cannot be read ({one_line(error)}): "
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
    """The contents of rows of Parquet files, in order; each group of rows is read once.

    Args:
        items: rows of :data:`fruits.sources.members.ITEMS`.
    """
    for uri, rows in groupby(places(items), key=lambda row: row.uri):
        for contents in _one_ahead(_read_file(uri, list(rows))):
            yield from contents


# Columns of an index that are not those of the file. No column of a file begins so.
_LENGTH, _PATH = "\1length", "\1path"


def _made(location: Location, length: int) -> pa.Table:
    """The index of a file: lengths and paths of the images, and the columns that are no images."""
    with open_parquet(location, length) as file:
        schema = file.schema_arrow
        require_different(schema.names, location.uri)
        require_different([*schema.names, _LENGTH, _PATH], f"{location}, with columns of an index,")
        image = image_column(schema, location.uri)
        if image is None:
            raise InputError(f"images: {location} has no column with the bytes of images")
        others = [one.name for one in schema if _is_scalar(one.type) and one.name != image]
        batches = [
            _index_rows(batch, image, others)
            for batch in file.iter_batches(_LONGEST_BATCH, columns=[image, *others])
        ]
    kept = pa.schema([schema.field(name) for name in others], schema.metadata)
    kept = kept.append(pa.field(_LENGTH, pa.int64())).append(pa.field(_PATH, pa.string()))
    return pa.Table.from_batches([batch.cast(kept) for batch in batches], kept)


def _index_rows(batch: pa.RecordBatch, image: str, others: list[str]) -> pa.RecordBatch:
    values = batch[image]
    paths: Any = pa.nulls(len(values), pa.string())
    if pa.types.is_struct(values.type) and values.type.get_field_index("path") >= 0:
        paths = pc.cast(pc.struct_field(values, "path"), pa.string())
    lengths = pc.cast(pc.binary_length(_bytes_of(values)), pa.int64())
    columns = {name: batch[name] for name in others}
    return pa.record_batch({**columns, _LENGTH: lengths, _PATH: paths})


def _names(index: pa.Table) -> list[str]:
    """The names of rows: their paths, if these name them; with the rows' numbers if not."""
    paths = index[_PATH].to_pylist()
    rest = [(path or "").replace("\0", "?").lstrip("/") for path in paths]
    if all(rest) and len(set(rest)) == len(rest):
        return rest
    return [f"{path}#{number}" if path else str(number) for number, path in enumerate(rest)]


def _read_file(uri: str, rows: list[Place]) -> Iterator[list[bytes | OSError]]:
    """The contents of rows of one file, some at a time."""
    done = 0
    try:
        location = Location.of(uri)
        with open_parquet(location, look_at(location).length) as file:
            for contents in _read_groups(file, rows):
                done += len(contents)
                yield contents
    except (OSError, pa.ArrowException, InputError, UnicodeError) as error:
        reason = f"the Parquet file cannot be read ({one_line(error)})"
        yield [damaged(refusal(row) or reason) for row in rows[done:]]


def _read_groups(file: pq.ParquetFile, rows: list[Place]) -> Iterator[list[bytes | OSError]]:
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    ends = np.cumsum(sizes)
    column = image_column(file.schema_arrow, "the file")
    if column is None:
        raise InputError("it has no images any more")

    def group_of(row: Place) -> int:
        return int(np.searchsorted(ends, row.offset, side="right"))

    for group, some in groupby(rows, key=group_of):
        wanted = list(some)
        if group == len(sizes):
            yield [damaged(refusal(row) or "the file has fewer rows than before") for row in wanted]
            continue
        start = int(ends[group]) - sizes[group]
        if any(a.offset > b.offset for a, b in pairwise(wanted)):
            # Not in the order of the file: rare, and a group has to be read for each.
            for row in wanted:
                yield from _read_group(file, group, column, start, [row])
        else:
            yield from _read_group(file, group, column, start, wanted)


def _read_group(
    file: pq.ParquetFile, group: int, column: str, start: int, rows: list[Place]
) -> Iterator[list[bytes | OSError]]:
    """Some rows of a group, in its order; `start` is the number of its first row."""
    mean = max(1, sum(row.length for row in rows) // len(rows))
    size = max(1, min(_LONGEST_BATCH, BLOCK_BYTES // mean))
    done = 0
    for batch in file.iter_batches(size, row_groups=[group], columns=[column]):
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


def _one(row: Place, value: Any) -> bytes | OSError:
    if reason := refusal(row):
        return OSError(reason)
    content: bytes | None = value.as_py()
    if content is None or len(content) != row.length:
        return damaged("there is another image in this row: the file was changed")
    return content


def _bytes_of(values: Any) -> Any:
    """The bytes of a column of images, as `large_binary`, whichever form of bytes it has."""
    while pa.types.is_struct(values.type):
        values = pc.struct_field(values, "bytes")
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.large_binary())


def _is_scalar(kind: pa.DataType) -> bool:
    """Whether a column may have labels, splits or groups."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    texts = (pa.types.is_string, pa.types.is_large_string)
    return any(test(kind) for test in (pa.types.is_integer, pa.types.is_boolean, *texts))


def _one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, of which the next one is made while one is used."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(next, items, end)
        while (item := future.result()) is not end:
            future = pool.submit(next, items, end)
            yield item
