"""Finds the length and the time of many files, by name, with few requests."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from fruits.errors import StorageError
from fruits.storage.failures import status_of, store_errors
from fruits.storage.location import Location, listed_at
from fruits.storage.walk import Entry, files_in, stat_file

# The number of parallel requests.
_REQUESTS = 16

# Up to this many files of one folder are requested one by one; for more, the folder is listed, if
# that is allowed.
_FEW = 20

_FORBIDDEN = 403


def statuses(uris: Iterable[str]) -> tuple[dict[str, Entry], StorageError | None]:
    """The entries of files by URI, without those that are missing or forbidden.

    Args:
        uris: the URIs of files, as listings write them.

    Returns:
        The entries, and the error of a forbidden file or None. If a folder may not be listed, S3
        answers that a missing file is forbidden.

    Raises:
        StorageError: a store cannot be used.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    for uri in uris:
        folders[uri.rpartition("/")[0]].append(uri)
    found: dict[str, Entry | StorageError] = {}
    unlisted: list[str] = []
    with ThreadPoolExecutor(_REQUESTS) as pool:
        parts = pool.map(lambda one: _of_folder(*one), folders.items())
        for part, names in zip(parts, folders.values(), strict=True):
            if part is None:
                unlisted += names
            else:
                found |= part
        few = (unlisted[n : n + _FEW] for n in range(0, len(unlisted), _FEW))
        for looked_up in pool.map(_of_each, few):
            found |= looked_up
    entries = {uri: one for uri, one in found.items() if isinstance(one, Entry)}
    return entries, next((one for one in found.values() if isinstance(one, StorageError)), None)


def _of_folder(folder: str, uris: list[str]) -> Mapping[str, Entry | StorageError] | None:
    """The entries of files of one folder; None if it may not be listed."""
    if len(uris) <= _FEW or folder.startswith("file:"):
        return _of_each(uris)
    wanted, found = set(uris), {}
    with store_errors(folder):
        try:
            for entry in files_in(Location.of(folder)):
                if (uri := f"{folder}/{entry.name}") in wanted:
                    found[uri] = entry
        except PermissionError:
            return None
        except OSError:
            return {}  # Its files count as missing; reading them raises the errors.
    return found


def _of_each(uris: Iterable[str]) -> dict[str, Entry | StorageError]:
    return {uri: found for uri in uris if (found := _look(uri))}


def _look(uri: str) -> Entry | StorageError | None:
    """The entry of a file, the error if it is forbidden, or None if it is missing."""
    filesystem, path = listed_at(uri)
    try:
        if uri.startswith("file:"):
            status = os.stat(path)
            return Entry(path, "file", status.st_size, status.st_mtime_ns // 1000)
        return stat_file(Location(filesystem, path, uri))
    except (OSError, ValueError):
        return None
    except StorageError as error:
        if error.__cause__ and status_of(error.__cause__)[0] == _FORBIDDEN:
            return error
        raise
