"""Parquet files with the bytes of images as a source, as used by Hugging Face's datasets.

The column is binary, or a struct with `bytes` and `path`. The path may also be in another column,
as in the tables of Spark's data source ``binaryFile``. A file must be read once to list its images,
because Parquet does not store the length of a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fruits.errors import InputError, one_line
from fruits.sources.archive import damaged
from fruits.sources.columns import fact_columns, facts_of, image_column
from fruits.sources.indexes import Index, cached_index
from fruits.sources.members import ITEMS, Member, Position, listed, positions
from fruits.sources.naming import Naming
from fruits.sources.parquet_index import (
    LENGTH,
    PATH,
    are_names,
    bytes_of,
    make_index,
    names_of,
    open_parquet,
    rows_at_once,
)
from fruits.sources.parts import Found
from fruits.sources.requests import refusal
from fruits.sources.spread import gather
from fruits.storage.ahead import one_ahead
from fruits.storage.failures import store_errors
from fruits.storage.location import Location
from fruits.storage.walk import Entry, stat_file

KIND = "parquet"


def list_parquet(place: str, naming: Naming) -> Found:
    """Lists the images in a Parquet file, see :func:`fruits.sources.open_source.list_place`."""
    location = Location.of(place)
    try:
        with store_errors(location.uri):
            entry = stat_file(location)
            make = partial(make_index, location, entry.length)
            index = cached_index(KIND, location, entry, make)
    except FileNotFoundError:
        raise InputError(f"images: wanted a Parquet file; {place} does not exist") from None
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise _incomplete(location, error) from error
    return Found(gather(_listed(index, location, entry, naming), ITEMS))


def _listed(index: Index, location: Location, entry: Entry, naming: Naming) -> Iterator[pa.Table]:
    """Yields the rows of :data:`fruits.sources.members.ITEMS` for the images of a file."""
    try:
        schema = pa.schema([one for one in index.schema if one.name not in (LENGTH, PATH)])
        columns = fact_columns(schema.with_metadata(index.schema.metadata), naming, location.uri)
        unique = are_names(index)
        done = 0
        for rows in index.tables():
            facts = facts_of(rows, columns, location.uri)
            members = [
                Member(
                    name if unique else f"{name}#{number}" if name else str(number),
                    length=length or 0,
                    offset=number,
                    span=1,
                    stored=length or 0,
                    reason=None if length is not None else "no bytes in this row",
                    label=label,
                    split=split,
                    group=group,
                )
                for number, (name, length, label, split, group) in enumerate(
                    zip(names_of(rows), rows[LENGTH].to_pylist(), *facts.values(), strict=True),
                    done,
                )
            ]
            done += len(members)
            yield listed(KIND, location.uri, entry.modified, members, naming, is_folder=False)
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise _incomplete(location, error) from error


def _incomplete(location: Location, error: Exception) -> InputError:
    return InputError(
        f"images: wanted a complete Parquet file; {location} cannot be read ({one_line(error)}): "
        "copy it again"
    )


def read_rows(items: pa.Table) -> Iterator[bytes | OSError]:
    """Yields the contents of rows of Parquet files, in order; each row group is read once.

    Args:
        items: rows of :data:`fruits.sources.members.ITEMS`.
    """
    for uri, rows in groupby(positions(items), key=lambda row: row.uri):
        for contents in one_ahead(_read_file(uri, list(rows))):
            yield from contents


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
    size = rows_at_once(sum(row.length for row in rows), len(rows))
    done = 0
    for batch in file.iter_batches(size, row_groups=[group], columns=[column], use_threads=False):
        values, stop = bytes_of(batch[column]), start + batch.num_rows
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
