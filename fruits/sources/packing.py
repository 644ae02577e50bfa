"""Packs a folder of images into shards, so that millions of small files become a few large ones.

The listing decides what each shard contains, so an interrupted packing continues where it stopped:
existing shards are checked, and only missing or outdated shards are written.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import ConfigError, InputError, OutputError, one_line
from fruits.sources.folder import contents_of, find_images
from fruits.sources.members import SEPARATOR
from fruits.sources.naming import Naming
from fruits.sources.selection import Selection, reason_to_skip
from fruits.sources.tar_index import read_index
from fruits.sources.tar_shards import members_of
from fruits.sources.text import original, storable
from fruits.sources.zip_archive import list_zip
from fruits.storage.failures import store_errors
from fruits.storage.location import Location
from fruits.storage.walk import files_in

FORMATS = ("tar", "zip")

SHARD_BYTES = 500_000_000

# The approximate overhead of a member in bytes: its header, and padding or a directory entry.
_OVERHEAD = 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The first and the last time that zip can store.
_FIRST_TIME, _LAST_TIME = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)


@dataclass(frozen=True)
class Packed:
    """The result of packing.

    Attributes:
        images: The number of images in all shards.
        shards: The number of shards.
        written: The number of shards that this call wrote.
        passed_over: The number of skipped files of the folder, by reason.
    """

    images: int
    shards: int
    written: int
    passed_over: dict[str, int]


def pack(
    images: str,
    output: str,
    format: str = "tar",
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Packed:
    """Writes the images of a folder as shards that a run can read.

    The names of members begin with the name of the folder, so that labels and splits are the same.
    Shards are not compressed, because images are compressed already.

    Args:
        images: the folder.
        output: the folder for the shards; it must be empty or have shards of an earlier packing.
        format: one of :data:`FORMATS`.
        shard_bytes: the approximate size of a shard; an image is never divided.
        progress: called with the number of packed images and the number of all images.

    Raises:
        ConfigError: an option is invalid.
        InputError: the folder cannot be packed completely.
        OutputError: there are other files in the output.
        StorageError: a store cannot be used.
    """
    _check(images, output, format, shard_bytes)
    source, target = Location.of(images), Location.of(output)
    if reason_to_skip(source.name):
        raise InputError(
            f"images: wanted a folder whose images can be found in shards; those of {images} would "
            f"be hidden, because the names begin with {source.name}/: rename the folder, or give a "
            "link to it that has another name"
        )
    found = find_images(images)
    if format == "zip":
        _require_unicode(source, found.images)
    parts = list(_parts(found.images, shard_bytes))
    names = [f"shard-{number:05}.{format}" for number in range(len(parts))]
    there = _there(target)
    if others := sorted(set(there) - set(names)):
        raise OutputError(
            f"output: wanted an empty folder, or one of an earlier packing of {images} with the "
            f"same options; {output} has {others[0]}: give another output"
        )
    done = written = 0
    for name, part in zip(names, parts, strict=True):
        if name not in there or _is_older(there[name], part):
            if name in there:
                _require_ours(source, target / name, format)
            try:
                _write(source, target / name, format, part)
            except OSError as error:
                raise OutputError(
                    f"output: {target / name} cannot be written: {error.strerror or error}: "
                    "change its permissions, free some space, or give another output"
                ) from error
            written += 1
        else:
            _require_same(source, target / name, format, part)
        done += part.num_rows
        progress(done, found.images.num_rows)
    return Packed(done, len(parts), written, found.passed_over)


def _check(images: str, output: str, format: str, shard_bytes: int) -> None:
    if format not in FORMATS:
        raise ConfigError(f"format: wanted one of {', '.join(FORMATS)}; got {format!r}")
    if shard_bytes < 1:
        raise ConfigError(f"shard_bytes: wanted a number of bytes of 1 or more; got {shard_bytes}")
    if Location.of(images).contains(Location.of(output)):
        raise ConfigError(
            f"output: wanted a folder outside of the images; {output} is inside {images}: "
            "choose another output"
        )


def _require_unicode(source: Location, images: pa.Table) -> None:
    """Checks that all names can be stored in a zip archive.

    Raises:
        InputError: a name is not UTF-8.
    """
    for name in _names(source, images.filter(pc.match_substring(images["path"], "\\ud"))):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"images: wanted names in UTF-8 for zip archives; got {storable(name)}: rename it, "
                "or pack with --format tar"
            ) from None


def _parts(files: pa.Table, shard_bytes: int) -> Iterator[pa.Table]:
    """Yields the images of each shard, in the order of the paths."""
    start = size = 0
    for number, length in enumerate(files["length"].to_pylist()):
        if size and size + length + _OVERHEAD > shard_bytes:
            yield files.slice(start, number - start)
            start, size = number, 0
        size += length + _OVERHEAD
    yield files.slice(start)


def _there(folder: Location) -> dict[str, datetime | int]:
    """The names of the files in the output, and when they were written."""
    try:
        with store_errors(folder.uri):
            return {entry.name: entry.modified for entry in files_in(folder)}
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        raise OutputError(f"output: wanted a folder; {folder} is a file") from None


def _is_older(modified: datetime | int, part: pa.Table) -> bool:
    """Whether one of the images was changed after its shard was written."""
    written = pa.scalar(modified, pa.timestamp("us", tz="UTC"))
    return bool(pc.greater(pc.max(part["modified"]), written).as_py())


def _write(source: Location, target: Location, format: str, part: pa.Table) -> None:
    """Writes one shard; its name appears only when it is complete."""
    local = target.is_local
    if local:
        os.makedirs(os.path.dirname(target.path), exist_ok=True)
    folder = os.path.dirname(target.path) if local else None
    with tempfile.TemporaryDirectory(prefix=".packing-", dir=folder) as temporary:
        path = os.path.join(temporary, target.path.rpartition("/")[2])
        with open(path, "wb") as file:
            _WRITERS[format](file, _members(source, part))
            file.flush()
            os.fsync(file.fileno())
        _require_same(source, Location.of(path), format, part)
        if local:
            os.replace(path, target.path)
            return
        with store_errors(target.uri):
            target.filesystem.put_file(path, target.path)


def _members(source: Location, part: pa.Table) -> Iterator[tuple[str, datetime, bytes]]:
    """Yields name, time and content of each image of a shard.

    Raises:
        InputError: an image cannot be read.
    """
    # Not as datetimes: while Arrow looks for the time zone, it swallows an interruption.
    times = part["modified"].cast(pa.int64()).to_pylist()
    for name, time, content in zip(_names(source, part), times, contents_of(part), strict=True):
        if isinstance(content, OSError):
            raise InputError(
                f"images: {storable(name)} cannot be read ({one_line(content)}): make it readable "
                "or move it out of the images, and pack again; the shards before it are kept"
            )
        yield name, _EPOCH + timedelta(microseconds=time), content


def _names(source: Location, part: pa.Table) -> list[str]:
    """The names of images in a shard: their paths, starting with the name of the folder."""
    prefix = source.uri.rstrip("/").rpartition("/")[0] + "/"
    return [original(path).removeprefix(prefix) for path in part["path"].to_pylist()]


def _require_same(source: Location, shard: Location, format: str, part: pa.Table) -> None:
    """Checks that a shard contains exactly the given images.

    Raises:
        OutputError: it contains other images.
    """
    try:
        there = _listed(shard, format)
    except InputError as error:
        raise OutputError(f"output: {shard} is damaged ({error}): delete it") from error
    wanted = list(zip(_names(source, part), part["length"].to_pylist(), strict=True))
    if there != wanted:
        raise OutputError(
            f"output: {shard} does not contain the expected {part.num_rows:,} images, because the "
            "images were changed or it belongs to another packing: choose another output, or "
            "delete the shards and pack again"
        )


def _require_ours(source: Location, shard: Location, format: str) -> None:
    """Checks that a shard that is about to be replaced comes from an earlier packing.

    Raises:
        OutputError: it contains something else than images of that folder.
    """
    try:
        names = [name for name, _ in _listed(shard, format)]
    except InputError:
        names = []
    prefix = source.uri.rstrip("/").rpartition("/")[2] + "/"
    if not names or not all(name.startswith(prefix) for name in names):
        raise OutputError(
            f"output: {shard} is not a shard of {source}, and would be replaced: move it away, or "
            "choose another output"
        )


def _listed(shard: Location, format: str) -> list[tuple[str, int]]:
    """Names and lengths of the images of a shard."""
    if format == "tar":
        members = members_of(read_index(shard.uri, keep=False)[2], Selection(), Naming())
        return [(one.name, one.length) for one in members]
    images = list_zip(shard.uri, Naming(), Selection()).table(["path", "length"])
    prefix = shard.uri + SEPARATOR
    names = [original(path.removeprefix(prefix)) for path in images["path"].to_pylist()]
    return list(zip(names, images["length"].to_pylist(), strict=True))


def _write_tar(file: IO[bytes], members: Iterator[tuple[str, datetime, bytes]]) -> None:
    # GNU headers are shorter than PAX headers, and allow names of any length.
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, time, content in members:
            header = tarfile.TarInfo(name)
            header.size, header.mtime = len(content), int(time.timestamp())
            archive.addfile(header, io.BytesIO(content))
            archive.members.clear()  # type: ignore[attr-defined]


def _write_zip(file: IO[bytes], members: Iterator[tuple[str, datetime, bytes]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, time, content in members:
            moment = min(max(_FIRST_TIME, (*time.timetuple()[:6],)), _LAST_TIME)
            archive.writestr(zipfile.ZipInfo(name, moment), content)


_WRITERS = {"tar": _write_tar, "zip": _write_zip}
