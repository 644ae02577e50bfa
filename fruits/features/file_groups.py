"""Files of features in groups, by their sizes, so that what a task reads fits its memory."""

import math
from collections.abc import Sequence

from fruits.storage.location import Location

TASK_FILES = 8
"""Maximum number of files that are read together."""

TASK_BYTES = 32 * 2**20
"""Maximum bytes of files that are read together; a task needs several times as much memory."""


def file_sizes(folder: Location) -> dict[str, int]:
    """Returns the bytes of each file in a folder, by name."""
    # Workers have written files since an earlier listing, which some file systems keep.
    folder.filesystem.invalidate_cache()
    found = folder.filesystem.ls(folder.path, detail=True)
    return {one["name"].rpartition("/")[2]: one["size"] or 0 for one in found}


def group_files(
    names: Sequence[str], sizes: dict[str, int], most_bytes: int, most_files: int | None = None
) -> list[list[str]]:
    """Puts consecutive files into groups; a file that is too large is in a group by itself.

    Args:
        names: the names of the files.
        sizes: the bytes of each file, by name.
        most_bytes: the maximum bytes of a group.
        most_files: the maximum number of files of a group; None for no limit.
    """
    groups: list[list[str]] = []
    filled = 0
    for name in names:
        filled += sizes[name]
        if not groups or len(groups[-1]) == most_files or filled > most_bytes:
            groups.append([])
            filled = sizes[name]
        groups[-1].append(name)
    return groups


def task_groups(
    folder: Location,
    files: Sequence[Location],
    most_bytes: int,
    most_files: int,
    at_least: int = 1,
) -> list[list[Location]]:
    """Groups the files of a folder for tasks.

    Args:
        folder: the folder.
        files: the files to read.
        most_bytes: the maximum bytes of a group.
        most_files: the maximum number of files of a group.
        at_least: the number of groups to divide small tables into, such as the tasks at a time.
    """
    if not files:
        return []
    places = {file.path.rpartition("/")[2]: file for file in files}
    sizes = file_sizes(folder)
    share = math.ceil(sum(sizes[name] for name in places) / at_least)
    groups = group_files([*places], sizes, min(most_bytes, share), most_files)
    return [[places[name] for name in group] for group in groups]
