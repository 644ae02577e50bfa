"""Caches indexes of files that must be read completely to list them.

The indexes are in the cache folder of the machine that starts the run. They are not in the output,
because several outputs may use one source, and because nothing may be written there before the run
owns it. They are not next to the images, because these are often read-only.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from fruits.sources.listing import ROWS
from fruits.storage.cache import cache_folder
from fruits.storage.location import Location
from fruits.storage.temporary import temporary_folder, temporary_writes
from fruits.storage.walk import Entry

# Changes when indexes have other columns or other contents.
_FORMAT = "6"

# The key in the metadata of an index for the version of its file.
_VERSION = b"fruits.version"


@dataclass(frozen=True)
class Index:
    """An index in a local file, which is open, so that another process may replace it.

    Attributes:
        file: The open file.
        folder: The temporary folder that has the file, or None if it is in the cache.
    """

    file: pq.ParquetFile
    folder: TemporaryDirectory[str] | None = None

    @property
    def schema(self) -> pa.Schema:
        """The schema of the index."""
        return self.file.schema_arrow

    def tables(self) -> Iterator[pa.Table]:
        """Reads the rows in order, some thousand at a time."""
        for batch in self.file.iter_batches(ROWS, use_threads=False):
            yield pa.table(batch).replace_schema_metadata(self.schema.metadata)


def cached_index(
    kind: str, location: Location, entry: Entry, make: Callable[[], Iterator[pa.Table]]
) -> Index:
    """The cached index of a file, or a new one if the file changed or is not cached.

    A new index replaces that of an earlier version of the file.

    Args:
        kind: the kind of index.
        location: the location of the file.
        entry: the length and the time of the file, which identify its version.
        make: reads the file, and yields the rows of the index, at least one table.
    """
    name = hashlib.sha256(json.dumps([kind, location.uri]).encode()).hexdigest()[:32]
    path = cache_folder() / "indexes" / f"{name}.parquet"
    version = json.dumps([_FORMAT, entry.length, str(entry.modified)]).encode()
    with suppress(OSError, pa.ArrowException):  # It is missing or damaged.
        kept = Index(_opened(path))
        if (kept.schema.metadata or {}).get(_VERSION) == version:
            for _ in kept.tables():
                pass
            return kept
    index = new_index(make, {_VERSION: version})
    with suppress(OSError):  # The next run makes it again.
        _keep(index, path)
    return index


def new_index(
    make: Callable[[], Iterator[pa.Table]], about: dict[bytes, bytes] | None = None
) -> Index:
    """A new index, which is not cached.

    Args:
        make: see :func:`cached_index`.
        about: metadata to add to those of the tables.

    Raises:
        StorageError: the index cannot be written.
    """
    folder = temporary_folder()
    path = _path_in(folder)
    tables = make()
    first = next(tables)
    schema = first.schema.with_metadata((first.schema.metadata or {}) | (about or {}))
    with temporary_writes():
        writer = pq.ParquetWriter(path, schema)
    try:
        for table in itertools.chain([first], tables):
            with temporary_writes():
                writer.write_table(table)
    finally:
        with temporary_writes():
            writer.close()
    return Index(_opened(path), folder)


def _opened(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(pa.OSFile(os.fsencode(path)))


def _path_in(folder: TemporaryDirectory[str]) -> Path:
    return Path(folder.name) / "index.parquet"


def _keep(index: Index, path: Path) -> None:
    assert index.folder
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{uuid.uuid4().hex}.part")
    try:
        shutil.copyfile(_path_in(index.folder), part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
