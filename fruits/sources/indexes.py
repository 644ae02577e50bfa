"""Indexes of files that have to be read through to know what is in them; made once on a machine.

They are kept in the cache folder of the machine that starts the run. The output would be the wrong
place: nothing may be written there before it is known to be ours, and several outputs share one
source. Next to the images would be wrong too: they are often read-only.
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
_FORMAT = "1"


def indexed(kind: str, location: Location, entry: Entry, make: Callable[[], pa.Table]) -> pa.Table:
    """The index of a file: the one that is kept, if the file is the same; else a new one.

    Args:
        kind: of the index.
        location: of the file.
        entry: its length and its time, by which it is the same.
        make: reads the file through and makes the index.
    """
    identity = [_FORMAT, kind, location.uri, entry.length, str(entry.modified)]
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    path = cache_folder() / "indexes" / f"{name}.parquet"
    with suppress(OSError, pa.ArrowException):  # It is not there, or damaged.
        kept: pa.Table = pq.read_table(path, partitioning=None)
        return kept
    made = make()
    with suppress(OSError):  # The next run makes it again.
        _keep(made, path)
    return made


def _keep(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{uuid.uuid4().hex}.part")
    try:
        pq.write_table(table, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
