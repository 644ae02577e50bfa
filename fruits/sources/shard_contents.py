"""What the images of a folder are in shards, and whether existing shards have them."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import InputError, OutputError
from fruits.sources.members import normal_name
from fruits.sources.parts import Parts
from fruits.sources.selection import Selection
from fruits.sources.shards import Stored, list_shard, stored_time
from fruits.sources.text import original, storable
from fruits.storage.location import Location


def require_names(source: Location, images: Parts, format: str) -> None:
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


def expected(source: Location, part: pa.Table, format: str) -> list[Stored]:
    """The images of a shard: their names start with the name of the folder.

    Args:
        source: the folder of the images.
        part: rows of :data:`fruits.sources.listing.LISTING`.
        format: one of :data:`fruits.sources.shards.FORMATS`.
    """
    # Not as datetimes: while Arrow looks for the time zone, it swallows an interruption.
    times = part["modified"].cast(pa.int64()).to_pylist()
    rows = zip(_names(source, part), part["length"].to_pylist(), times, strict=True)
    return [Stored(name, length, stored_time(time, format)) for name, length, time in rows]


def is_outdated(
    shard: Location,
    format: str,
    wanted: Sequence[Stored],
    newer: bool,
    source: Location,
    images: Parts,
) -> bool:
    """Whether a shard must be written again, because it has other images or other versions.

    Args:
        shard: the shard.
        format: its format.
        wanted: the images that it should have.
        newer: whether one of them was changed after the shard was written, perhaps in the same
            second, so that the times in the shard do not show it.
        source: the folder of the images.
        images: all images of the folder.

    Raises:
        OutputError: it is another file, or it has an image that is no longer in the folder, which
            would be lost.
    """
    try:
        there = list_shard(shard, format)
    except InputError as error:
        raise _another_file(shard, source, str(error)) from error
    if there == wanted and not newer:
        return False
    if not there:
        raise _another_file(shard, source, "it has no images")
    prefix = _prefix(source)
    paths = pa.array([storable(prefix + one.name) for one in there], pa.string())
    if gone := _first_missing(paths, images):
        raise OutputError(
            f"output: {shard} has {gone.removeprefix(storable(prefix))}, which is not in {source}, "
            "and would be lost: move the shard away, or choose another output"
        )
    return True


def _another_file(shard: Location, source: Location, reason: str) -> OutputError:
    return OutputError(
        f"output: {shard} is not a shard of {source}, and would be replaced ({reason}): move it "
        "away, or choose another output"
    )


def _first_missing(paths: pa.Array, images: Parts) -> str | None:
    """The first path that none of the images has, or None."""
    ends = pc.min_max(paths).as_py()
    first, last = (bisect_right(images.bounds, ends[end]) for end in ("min", "max"))
    there = pa.concat_tables(read().select(["path"]) for read in images.reads[first : last + 1])
    missing = paths.filter(pc.invert(pc.is_in(paths, there["path"].combine_chunks())))
    return missing[0].as_py() if len(missing) else None


def _names(source: Location, part: pa.Table) -> list[str]:
    """The names of images in a shard: their paths, starting with the name of the folder."""
    prefix = _prefix(source)
    return [original(path).removeprefix(prefix) for path in part["path"].to_pylist()]


def _prefix(source: Location) -> str:
    """The part of the paths that is left out in the names."""
    return source.uri.rstrip("/").rpartition("/")[0] + "/"
