"""Caches indexes of files that must be read completely to list them.

The indexes are in the cache folder of the machine that starts the run. They are not in the output,
because several outputs may use one source, and because nothing may be written there before the run
owns it. They are not next to the images, because these are often read-only.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fruits.storage.cache import cache_folder
from fruits.storage.location import Location
from fruits.storage.walk import Entry

# Changes when indexes have other columns or other contents.
_FORMAT = "5"

# The key in the metadata of an index for the version of its file.
_VERSION = b"fruits.version"


def cached_index(
    kind: str, location: Location, entry: Entry, make: Callable[[], pa.Table]
) -> pa.Table:
    """The cached index of a file, or a new one if the file changed or is not cached.

    A new index replaces that of an earlier version of the file.

    Args:
        kind: the kind of index.
        location: the location of the file.
        entry: the length and the time of the file, which identify its version.
        make: reads the file and makes the index.
    """
    name = hashlib.sha256(json.dumps([kind, location.uri]).encode()).hexdigest()[:32]
    path = cache_folder() / "indexes" / f"{name}.parquet"
    version = json.dumps([_FORMAT, entry.length, str(entry.modified)]).encode()
    with suppress(OSError, pa.ArrowException):  # It is missing or damaged.
        kept: pa.Table = pq.read_table(path, partitioning=None)
        if (kept.schema.metadata or {}).get(_VERSION) == version:
            return kept
    made = make()
    about = (made.schema.metadata or {}) | {_VERSION: version}
    with suppress(OSError):  # The next run makes it again.
        _keep(made.replace_schema_metadata(about), path)
    return made


def _keep(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{uuid.uuid4().hex}.part")
    try:
        pq.write_table(table, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
