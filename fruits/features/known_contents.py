"""Sets of known contents, by the keys of their SHA-256: see `fruits.features.digest_keys`.

Small sets are in memory. Large sets are in a sorted file; a lookup reads one block of it, so memory
does not grow with the number of contents.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fruits.features.digest_keys import Keys, merged_keys
from fruits.storage.location import Location
from fruits.storage.temporary import temporary_folder

_BLOCK = 4096
"""The keys that a lookup reads: 32 kB."""

_BUCKETS = 256
"""One bucket for each first byte of a key; digests are evenly distributed."""


@dataclass(frozen=True, eq=False)
class Digests:
    """A set of digests in memory.

    Attributes:
        keys: The keys of the digests, sorted.
    """

    keys: Keys

    @classmethod
    def of(cls, tables: Iterable[pa.Table]) -> Digests:
        """Makes a set from tables with a column ``key``, uint64."""
        return cls(merged_keys(map(_keys, tables)))

    def __contains__(self, digest: bytes) -> bool:
        return _has(self.keys, _key(digest))


@dataclass(frozen=True, eq=False)
class DigestFile:
    """A set of digests in a file.

    Attributes:
        place: The location of the file; if it is in a store, each machine makes a local copy.
        firsts: The first key of each block of the file.
        folder: A function that returns the folder for local copies on this machine.
    """

    place: Location
    firsts: Keys
    folder: Callable[[], str]

    def __contains__(self, digest: bytes) -> bool:
        key = _key(digest)
        block = int(np.searchsorted(self.firsts, key, "right")) - 1
        if block < 0:
            return False
        with open(self._path(), "rb") as file:
            file.seek(block * _BLOCK * 8)
            return _has(np.frombuffer(file.read(_BLOCK * 8), np.uint64), key)

    def _path(self) -> str:
        """The local path of the file; copies it from the store if needed."""
        place = self.place
        if place.is_local:
            return place.path
        copy = f"{self.folder()}/{place.name}"
        if not os.path.exists(copy):
            part = f"{copy}.{os.getpid()}"
            place.filesystem.get_file(place.path, part)
            os.replace(part, copy)
        return copy


def write_digests(
    tables: Iterable[pa.Table], place: Location, folder: Callable[[], str] = tempfile.gettempdir
) -> DigestFile:
    """Writes a file of digests.

    Args:
        tables: tables with a column ``key``, uint64.
        place: the location of the file, which all machines must be able to read.
        folder: see :attr:`DigestFile.folder`; called on each machine.
    """
    with temporary_folder() as name:
        path = Path(name) / "digests"
        _write_sorted(tables, path)
        place.filesystem.makedirs(place.path.rpartition("/")[0], exist_ok=True)
        place.filesystem.put_file(str(path), place.path)
        return DigestFile(place, _firsts(path), folder)


def _write_sorted(tables: Iterable[pa.Table], path: Path) -> None:
    """Writes the keys in sorted order, with memory for one bucket, and files next to it."""
    buckets = [path.with_suffix(f".{number}") for number in range(_BUCKETS)]
    bounds = np.arange(1, _BUCKETS, dtype=np.uint64) << np.uint64(56)
    for keys in map(_keys, tables):
        keys = np.sort(keys)
        parts = np.split(keys, np.searchsorted(keys, bounds))
        for bucket, part in zip(buckets, parts, strict=True):
            with bucket.open("ab") as file:
                part.tofile(file)
    with path.open("wb") as file:
        for bucket in buckets:
            np.sort(np.fromfile(bucket, np.uint64)).tofile(file)
            bucket.unlink()


def _firsts(path: Path) -> Keys:
    """The first key of each block. A memory map would count the whole file as used memory."""
    with path.open("rb", buffering=0) as file:
        starts = range(0, path.stat().st_size, 8 * _BLOCK)
        numbers = b"".join(os.pread(file.fileno(), 8, start) for start in starts)
    return np.frombuffer(numbers, np.uint64)


def _keys(table: pa.Table) -> Keys:
    keys: Keys = table["key"].to_numpy()
    return keys


def _key(digest: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(digest[:8]))


def _has(keys: Keys, key: np.uint64) -> bool:
    place = int(np.searchsorted(keys, key))
    return place < len(keys) and bool(keys[place] == key)
