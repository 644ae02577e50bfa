"""Finds the length and the time of many files, by name, with few requests."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from fruits.storage.failures import store_errors
from fruits.storage.location import Location, listed_at
from fruits.storage.walk import Entry, files_in, stat_file

# The number of parallel requests.
_REQUESTS = 16

# Up to this many files of one folder are requested one by one; for more, the folder is listed.
_FEW = 20


def statuses(uris: Iterable[str]) -> dict[str, Entry]:
    """The entries of files by URI, without those that are missing or forbidden.

    Args:
        uris: the URIs of files, as listings write them.

    Raises:
        StorageError: a store cannot be used.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    for uri in uris:
        folders[uri.rpartition("/")[0]].append(uri)
    found: dict[str, Entry] = {}
    with ThreadPoolExecutor(_REQUESTS) as pool:
        for part in pool.map(lambda one: _of_folder(*one), folders.items()):
            found |= part
    return found


def _of_folder(folder: str, uris: list[str]) -> dict[str, Entry]:
    if len(uris) <= _FEW or folder.startswith("file:"):
        return {uri: entry for uri in uris if (entry := _look(uri))}
    wanted, found = set(uris), {}
    with store_errors(folder):
        try:
            for entry in files_in(Location.of(folder)):
                if (uri := f"{folder}/{entry.name}") in wanted:
                    found[uri] = entry
        except OSError:
            return {}  # Its files count as missing; reading them raises the errors.
    return found


def _look(uri: str) -> Entry | None:
    filesystem, path = listed_at(uri)
    with store_errors(uri):
        try:
            if uri.startswith("file:"):
                status = os.stat(path)
                return Entry(path, "file", status.st_size, status.st_mtime_ns // 1000)
            return stat_file(Location(filesystem, path, uri))
        except (OSError, ValueError):
            return None
