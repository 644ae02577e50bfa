"""Packs a folder of images into shards, so that millions of small files become a few large ones.

The listing decides what each shard contains, so an interrupted packing continues where it stopped:
existing shards are checked, and only missing or outdated shards are written.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import ConfigError, InputError, OutputError, one_line
from fruits.sources.folder import Folder, contents_of
from fruits.sources.members import normal_name
from fruits.sources.parts import Parts
from fruits.sources.selection import Selection, reason_to_skip
from fruits.sources.shards import FORMATS, Time, list_shard, stored_time, write_shard
from fruits.sources.text import original, storable
from fruits.storage.failures import store_errors
from fruits.storage.location import Location
from fruits.storage.walk import files_in

SHARD_BYTES = 500_000_000

# The approximate overhead of a member in bytes: its header, and padding or a directory entry.
_OVERHEAD = 1024


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
        format: one of :data:`fruits.sources.shards.FORMATS`.
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
    found = Folder(images).found()
    _require_names(source, found.images, format)
    counts = _counts(found.images, shard_bytes)
    names = [f"shard-{number:05}.{format}" for number in range(len(counts))]
    there = _there(target)
    if others := sorted(set(there) - set(names)):
        raise OutputError(
            f"output: wanted an empty folder, or one of an earlier packing of {images} with the "
            f"same options; {output} has {others[0]}: give another output"
        )
    done = written = 0
    for name, part in zip(names, _shards(found.images, counts), strict=True):
        if name not in there or _is_outdated(source, target / name, format, part, there[name]):
            try:
                _write(source, target / name, format, part)
            except OSError as error:
                raise OutputError(
                    f"output: {target / name} cannot be written: {error.strerror or error}: "
                    "change its permissions, free some space, or give another output"
                ) from error
            written += 1
        done += part.num_rows
        progress(done, found.images.num_rows)
    return Packed(done, len(counts), written, found.passed_over)


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


def _require_names(source: Location, images: Parts, format: str) -> None:
    """Checks that all images have the same names in shards.

    Raises:
        InputError: a run would read an image of a shard by another name, or not at all; or the name
            is not UTF-8, and the shards are zip archives.
    """
    selection = Selection()
    for name in itertools.chain.from_iterable(_names(source, part) for part in images):
        if normal_name(name) != (name, None) or not selection.is_image(name):
            raise InputError(
                f"images: wanted images that keep their names in shards; {storable(name)} would "
                "get another name there, or be skipped: rename it, or move it out of the images"
            )
        if format == "zip" and not _is_unicode(name):
            raise InputError(
                f"images: wanted names in UTF-8 for zip archives; got {storable(name)}: "
                "rename it, or pack with --format tar"
            )


def _is_unicode(name: str) -> bool:
    """Whether a name has no bytes that are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _counts(files: Parts, shard_bytes: int) -> list[int]:
    """The number of images in each shard, in the order of the paths."""
    counts, size = [0], 0
    for part in files:
        for length in part["length"].to_pylist():
            if counts[-1] and size + length + _OVERHEAD > shard_bytes:
                counts.append(0)
                size = 0
            counts[-1] += 1
            size += length + _OVERHEAD
    return counts


def _shards(files: Parts, counts: Sequence[int]) -> Iterator[pa.Table]:
    """Yields the images of each shard."""
    left, rest = files.schema.empty_table(), iter(files)
    for count in counts:
        while left.num_rows < count:
            left = pa.concat_tables([left, next(rest)])
        yield left.slice(0, count)
        left = left.slice(count)


def _there(folder: Location) -> dict[str, datetime | int]:
    """The names of the files in the output, and when they were written."""
    try:
        with store_errors(folder.uri):
            return {entry.name: entry.modified for entry in files_in(folder)}
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        raise OutputError(f"output: wanted a folder; {folder} is a file") from None


def _is_outdated(
    source: Location, shard: Location, format: str, part: pa.Table, written: datetime | int
) -> bool:
    """Whether a shard has other versions of the images.

    Args:
        source: the folder of the images.
        shard: the shard.
        format: its format.
        part: the images that it should have.
        written: when the shard was written.

    Raises:
        OutputError: it has other images.
    """
    # The times in a shard are whole seconds, in which an image may have changed again.
    moment = pa.scalar(written, part.schema.field("modified").type)
    if pc.greater(pc.max(part["modified"]), moment).as_py():
        _require_ours(source, shard, format)
        return True
    return _require_same(source, shard, format, part) != _times(part, format)


def _write(source: Location, target: Location, format: str, part: pa.Table) -> None:
    """Writes one shard; its name appears only when it is complete."""
    folder = os.path.dirname(target.path) if target.is_local else tempfile.gettempdir()
    os.makedirs(folder, exist_ok=True)
    # tempfile would leave the folder if an interruption arrived before it returned the name.
    temporary = os.path.join(folder, f".packing-{uuid.uuid4().hex}")
    try:
        os.mkdir(temporary, 0o700)
        path = os.path.join(temporary, target.name)
        with open(path, "wb") as file:
            write_shard(file, format, _members(source, format, part))
            file.flush()
            os.fsync(file.fileno())
        _require_same(source, Location.of(path), format, part)
        if target.is_local:
            os.replace(path, target.path)
            return
        with store_errors(target.uri):
            target.filesystem.put_file(path, target.path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(source: Location, format: str, part: pa.Table) -> Iterator[tuple[str, Time, bytes]]:
    """Yields name, time and content of each image of a shard.

    Raises:
        InputError: an image cannot be read.
    """
    rows = zip(_names(source, part), _times(part, format), contents_of(part), strict=True)
    for name, time, content in rows:
        if isinstance(content, OSError):
            raise InputError(
                f"images: {storable(name)} cannot be read ({one_line(content)}): make it readable "
                "or move it out of the images, and pack again; the shards before it are kept"
            )
        yield name, time, content


def _times(part: pa.Table, format: str) -> list[Time]:
    """The times of images in a shard."""
    # Not as datetimes: while Arrow looks for the time zone, it swallows an interruption.
    return [stored_time(time, format) for time in part["modified"].cast(pa.int64()).to_pylist()]


def _names(source: Location, part: pa.Table) -> list[str]:
    """The names of images in a shard: their paths, starting with the name of the folder."""
    prefix = source.uri.rstrip("/").rpartition("/")[0] + "/"
    return [original(path).removeprefix(prefix) for path in part["path"].to_pylist()]


def _require_same(source: Location, shard: Location, format: str, part: pa.Table) -> list[Time]:
    """Checks that a shard contains exactly the given images, and returns their times in it.

    Raises:
        OutputError: it contains other images.
    """
    try:
        there = list_shard(shard, format)
    except InputError as error:
        raise OutputError(f"output: {shard} is damaged ({error}): delete it") from error
    wanted = list(zip(_names(source, part), part["length"].to_pylist(), strict=True))
    if [(one.name, one.length) for one in there] != wanted:
        raise OutputError(
            f"output: {shard} does not contain the expected {part.num_rows:,} images, because the "
            "images were changed or it belongs to another packing: choose another output, or "
            "delete the shards and pack again"
        )
    return [one.time for one in there]


def _require_ours(source: Location, shard: Location, format: str) -> None:
    """Checks that a shard that is about to be replaced comes from an earlier packing.

    Raises:
        OutputError: it contains something else than images of that folder.
    """
    try:
        names = [one.name for one in list_shard(shard, format)]
    except InputError:
        names = []
    prefix = source.uri.rstrip("/").rpartition("/")[2] + "/"
    if not names or not all(name.startswith(prefix) for name in names):
        raise OutputError(
            f"output: {shard} is not a shard of {source}, and would be replaced: move it away, or "
            "choose another output"
        )
