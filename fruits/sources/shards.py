"""Writes and lists shards, the archives that :mod:`fruits.sources.packing` makes of images."""

from __future__ import annotations

import io
import tarfile
import time
import zipfile
from collections.abc import Iterable
from typing import IO, NamedTuple

from fruits.errors import InputError
from fruits.sources import tar_archive, zip_archive
from fruits.sources.naming import Naming
from fruits.sources.selection import Selection, described
from fruits.sources.tar_index import read_index, rows_of
from fruits.storage.location import Location

FORMATS = ("tar", "zip")

Time = tuple[int, ...]
"""The time of a member: seconds since 1970 in tar; year, month, and so on in zip."""

# The first and the last time that zip can store: 1980 and 2107, in seconds since 1970.
_FIRST_TIME, _LAST_TIME = 315_532_800, 4_354_819_198


class Stored(NamedTuple):
    """An image in a shard: its name, its length in bytes, and its time."""

    name: str
    length: int
    time: Time


def stored_time(modified: int, format: str) -> Time:
    """The time that a shard stores for a file, in whole seconds, or two seconds in zip.

    Args:
        modified: the time of the file in microseconds since 1970.
        format: one of :data:`FORMATS`.
    """
    seconds = modified // 1_000_000
    if format == "tar":
        return (seconds,)
    seconds = min(max(_FIRST_TIME, seconds), _LAST_TIME)
    return time.gmtime(seconds - seconds % 2)[:6]


def write_shard(file: IO[bytes], format: str, images: Iterable[tuple[str, Time, bytes]]) -> None:
    """Writes a shard.

    Args:
        file: the file.
        format: one of :data:`FORMATS`.
        images: the name, the :func:`stored_time` and the content of each image.
    """
    if format == "tar":
        # GNU headers are shorter than PAX headers, and allow names of any length.
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for name, (seconds,), content in images:
                header = tarfile.TarInfo(name)
                header.size, header.mtime = len(content), seconds
                archive.addfile(header, io.BytesIO(content))
                archive.members.clear()  # type: ignore[attr-defined]
        return
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as directory:
        for name, moment, content in images:
            directory.writestr(zipfile.ZipInfo(name, moment), content)  # type: ignore[arg-type]


def list_shard(shard: Location, format: str) -> list[Stored]:
    """The images that a run finds in a shard.

    Raises:
        InputError: the shard is damaged, or has other files.
        StorageError: the store cannot be used.
    """
    times: dict[str, Time]
    selection = Selection()
    if format == "tar":
        index = read_index(shard.uri, keep=False)[2]
        times = {row.name: (row.modified,) for row in rows_of(index)}
        members = tar_archive.members_of(index, selection, Naming())
    else:
        directory = zip_archive.read_directory(shard.uri)
        times = {one.filename: one.date_time for one in directory.entries}
        members = zip_archive.members_of(directory, selection)
    images = [Stored(one.name, one.length, times.get(one.name, ())) for one in members]
    if selection.passed_over:
        raise InputError(f"it has other files than images: {described(selection.passed_over)}")
    return images
