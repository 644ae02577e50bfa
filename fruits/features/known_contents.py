"""Sets of known contents, by the first eight bytes of their SHA-256.

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
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.storage.location import Location
from fruits.storage.temporary import temporary_folder

Numbers = NDArray[np.uint64]

_BLOCK = 4096
"""The numbers that a lookup reads: 32 kB."""

_BUCKETS = 256
"""One bucket for each first byte; digests are evenly distributed."""


def digest_starts(digests: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The first eight bytes of each digest, which is in hexadecimal."""
    digits = "".join(pc.utf8_slice_codeunits(digests, 0, 16).to_pylist())
    buffers = [None, pa.py_buffer(bytes.fromhex(digits))]
    return pa.Array.from_buffers(pa.binary(8), len(digests), buffers).cast(pa.binary())


@dataclass(frozen=True, eq=False)
class Digests:
    """A set of digests in memory.

    Attributes:
        numbers: The first eight bytes of each digest as a big-endian number, sorted.
    """

    numbers: Numbers

    @classmethod
    def of(cls, tables: Iterable[pa.Table]) -> Digests:
        """Makes a set from tables with a column ``digest`` of eight bytes."""
        return cls(np.sort(np.concatenate([np.empty(0, np.uint64), *map(_numbers, tables)])))

    def __contains__(self, digest: bytes) -> bool:
        return _has(self.numbers, _number(digest))


@dataclass(frozen=True, eq=False)
class DigestFile:
    """A set of digests in a file.

    Attributes:
        place: The location of the file; if it is in a store, each machine makes a local copy.
        firsts: The first number of each block of the file.
        folder: A function that returns the folder for local copies on this machine.
    """

    place: Location
    firsts: Numbers
    folder: Callable[[], str]

    def __contains__(self, digest: bytes) -> bool:
        number = _number(digest)
        block = int(np.searchsorted(self.firsts, number, "right")) - 1
        if block < 0:
            return False
        with open(self._path(), "rb") as file:
            file.seek(block * _BLOCK * 8)
            return _has(np.frombuffer(file.read(_BLOCK * 8), np.uint64), number)

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
        tables: tables with a column ``digest`` of eight bytes.
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
    """Writes the numbers in sorted order, with memory for one bucket, and files next to it."""
    buckets = [path.with_suffix(f".{number}") for number in range(_BUCKETS)]
    bounds = np.arange(1, _BUCKETS, dtype=np.uint64) << np.uint64(56)
    for numbers in map(_numbers, tables):
        numbers = np.sort(numbers)
        parts = np.split(numbers, np.searchsorted(numbers, bounds))
        for bucket, part in zip(buckets, parts, strict=True):
            with bucket.open("ab") as file:
                part.tofile(file)
    with path.open("wb") as file:
        for bucket in buckets:
            np.sort(np.fromfile(bucket, np.uint64)).tofile(file)
            bucket.unlink()


def _firsts(path: Path) -> Numbers:
    """The first number of each block. A memory map would count the whole file as used memory."""
    with path.open("rb", buffering=0) as file:
        starts = range(0, path.stat().st_size, 8 * _BLOCK)
        numbers = b"".join(os.pread(file.fileno(), 8, start) for start in starts)
    return np.frombuffer(numbers, np.uint64)


def _numbers(table: pa.Table) -> Numbers:
    """The number of each row's digest."""
    return np.frombuffer(b"".join(table["digest"].to_pylist()), ">u8").astype(np.uint64)


def _number(digest: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(digest[:8]))


def _has(numbers: Numbers, number: np.uint64) -> bool:
    place = int(np.searchsorted(numbers, number))
    return place < len(numbers) and bool(numbers[place] == number)
