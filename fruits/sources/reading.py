"""Reads items of any source, by the kind in their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from fruits.sources import folder, parquet_source, tar_archive, tar_index, zip_archive
from fruits.sources.archive import read_members
from fruits.sources.members import REFUSED, positions

Reader = Callable[[pa.Table], Iterator[bytes | OSError]]


def contents_of(items: pa.Table) -> Iterator[bytes | OSError]:
    """Yields the contents of items in order, and reads several items ahead.

    Args:
        items: rows of a listing, with `path` and `length`; they may belong to several sources.

    Yields:
        The bytes, or the error of reading them.

    Raises:
        StorageError: the store cannot be used; this is not an error of one item.
    """
    if "at" not in items.column_names:
        yield from folder.contents_of(items)
        return
    kinds = pc.fill_null(pc.struct_field(items["at"], "kind"), "").to_pylist()
    start = 0
    while start < len(kinds):
        stop = start
        while stop < len(kinds) and kinds[stop] == kinds[start]:
            stop += 1
        yield from _READERS[kinds[start]](items.slice(start, stop - start))
        start = stop


def _refused(items: pa.Table) -> Iterator[OSError]:
    for place in positions(items):
        yield OSError(place.reason)


_READERS: dict[str, Reader] = {
    "": folder.contents_of,
    REFUSED: _refused,
    zip_archive.KIND: lambda items: read_members(items, zip_archive.cut),
    tar_index.KIND: lambda items: read_members(items, tar_archive.cut),
    parquet_source.KIND: parquet_source.read_rows,
}
