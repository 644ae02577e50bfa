"""Reads and merges files of moments."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from fruits.features.moments import Moments
from fruits.storage.files import replace
from fruits.storage.location import Location


def read_moments(place: Location) -> Moments:
    """Reads a file of moments.

    Raises:
        FileNotFoundError: the file does not exist.
        OldMoments: an earlier version of this package wrote it.
        ValueError: the file is something else, truncated, or damaged.
    """
    return Moments.from_bytes(place.filesystem.cat_file(place.path))


def merge_files(
    files: Iterable[Location], target: Location, without: Iterable[Location] = ()
) -> None:
    """Merges files of moments into one.

    Args:
        files: the files to add up.
        target: the location of the result.
        without: files to subtract.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or rows are subtracted that are not included.
    """
    total = reduce(Moments.merge, map(read_moments, files), Moments.empty())
    replace(target, reduce(Moments.subtract, map(read_moments, without), total).to_bytes())


def try_merge(
    files: Iterable[Location], target: Location, without: Iterable[Location] = ()
) -> bool:
    """Like :func:`merge_files`; False, without a result, if files are missing, damaged or wrong."""
    try:
        merge_files(files, target, without)
    except (FileNotFoundError, ValueError):
        return False
    return True
