"""Packs a folder of images into shards, so that millions of small files become a few large ones.

The listing decides what each shard contains, so an interrupted packing continues where it stopped:
existing shards are checked, and only missing or outdated shards are written.
"""

from __future__ import annotations

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
from fruits.sources.folder import contents_of, list_folder
from fruits.sources.naming import Naming
from fruits.sources.parts import Parts
from fruits.sources.selection import reason_to_skip
from fruits.sources.shard_contents import expected, is_outdated, require_names
from fruits.sources.shards import FORMATS, Stored, Time, list_shard, write_shard
from fruits.sources.text import storable
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
    found = list_folder(images, Naming())
    require_names(source, found.images, format)
    counts = _counts(found.images, shard_bytes)
    names = [f"shard-{number:05}.{format}" for number in range(len(counts))]
    there = _there(target)
    if others := sorted(set(there) - set(names)):
        raise OutputError(
            f"output: wanted an empty folder, or one of an earlier packing of {images} with the "
            f"same options; {output} has {others[0]}: move it away, or give another output"
        )
    done = written = 0
    for name, part in zip(names, _shards(found.images, counts), strict=True):
        wanted = expected(source, part, format)
        if name not in there or is_outdated(
            target / name, format, wanted, _is_newer(part, there[name]), source, found.images
        ):
            try:
                _write(target / name, format, part, wanted)
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


def _is_newer(part: pa.Table, written: datetime | int) -> bool:
    """Whether an image was changed after its shard was written."""
    moment = pa.scalar(written, part.schema.field("modified").type)
    return bool(pc.greater(pc.max(part["modified"]), moment).as_py())


def _write(target: Location, format: str, part: pa.Table, wanted: Sequence[Stored]) -> None:
    """Writes one shard; its name appears only when it is complete."""
    folder = os.path.dirname(target.path) if target.is_local else tempfile.gettempdir()
    os.makedirs(folder, exist_ok=True)
    # tempfile would leave the folder if an interruption arrived before it returned the name.
    temporary = os.path.join(folder, f".packing-{uuid.uuid4().hex}")
    try:
        os.mkdir(temporary, 0o700)
        path = os.path.join(temporary, target.name)
        with open(path, "wb") as file:
            write_shard(file, format, _members(part, wanted))
            file.flush()
            os.fsync(file.fileno())
        if list_shard(Location.of(path), format) != wanted:
            raise OutputError(
                f"output: {target} does not have what was written to it: check the disk of {folder}"
            )
        if target.is_local:
            os.replace(path, target.path)
            return
        with store_errors(target.uri):
            target.filesystem.put_file(path, target.path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(part: pa.Table, wanted: Sequence[Stored]) -> Iterator[tuple[str, Time, bytes]]:
    """Yields name, time and content of each image of a shard.

    Raises:
        InputError: an image cannot be read.
    """
    for (name, _, time), content in zip(wanted, contents_of(part), strict=True):
        if isinstance(content, OSError):
            raise InputError(
                f"images: {storable(name)} cannot be read ({one_line(content)}): make it readable "
                "or move it out of the images, and pack again; the shards before it are kept"
            )
        yield name, time, content
