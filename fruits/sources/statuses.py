"""Finds the length and the time of many files, by name, with few requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from fruits.errors import StorageError
from fruits.storage.failures import status_of, store_errors
from fruits.storage.location import listed_location
from fruits.storage.walk import Entry, files_in, stat_file

# The number of parallel requests.
_REQUESTS = 16

# Up to this many files of one folder are requested one by one; for more, the folder is listed, if
# that is allowed.
_FEW = 20

# A longer list of names is divided, so that a large folder in S3 is listed with several requests at
# the same time.
_NAMES = 5_000

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
    groups = [*_groups(uris)]
    found: dict[str, Entry] = {}
    forbidden: StorageError | None = None
    unlisted: list[str] = []
    with ThreadPoolExecutor(_REQUESTS) as pool:
        parts = pool.map(lambda one: _of_folder(*one), groups)
        for part, (_, names) in zip(parts, groups, strict=True):
            if part is None:
                unlisted += names
            else:
                found |= part[0]
                forbidden = forbidden or part[1]
        few = (unlisted[n : n + _FEW] for n in range(0, len(unlisted), _FEW))
        for there, error in pool.map(_of_each, few):
            found |= there
            forbidden = forbidden or error
    return found, forbidden


def refusal(uris: Iterable[str]) -> StorageError | None:
    """The error of a file if the store forbids all of these files; the first other answer ends it.

    Raises:
        StorageError: a store cannot be used.
    """
    error = None
    for uri in uris:
        answer = _look(uri)
        if not isinstance(answer, StorageError):
            return None
        error = error or answer
    return error


def _groups(uris: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields folders, and the URIs of files in them that are looked up together."""
    folders: dict[str, list[str]] = defaultdict(list)
    for uri in uris:
        folders[uri.rpartition("/")[0]].append(uri)
    for folder, some in folders.items():
        if folder.startswith("s3a:"):
            some.sort()
            for start in range(0, len(some), _NAMES):
                yield folder, some[start : start + _NAMES]
        else:
            yield folder, some


def _of_folder(folder: str, uris: list[str]) -> tuple[dict[str, Entry], StorageError | None] | None:
    """The result of :func:`statuses` for files of one folder; None if it may not be listed."""
    if len(uris) <= _FEW or folder.startswith("file:"):
        return _of_each(uris)
    if folder.startswith(("http:", "https:")):
        return None  # It is a page, or nothing.
    wanted, found = set(uris), {}
    names = [uri[len(folder) + 1 :] for uri in uris]
    with store_errors(folder):
        try:
            for entry in files_in(listed_location(folder), min(names), max(names)):
                if (uri := f"{folder}/{entry.name}") in wanted:
                    found[uri] = entry
        except PermissionError:
            return None
        except OSError:
            return {}, None  # Its files count as missing; reading them raises the errors.
    return found, None


def _of_each(uris: Iterable[str]) -> tuple[dict[str, Entry], StorageError | None]:
    """The result of :func:`statuses`, with a request for each file."""
    found: dict[str, Entry] = {}
    forbidden = None
    for uri in uris:
        answer = _look(uri)
        if isinstance(answer, Entry):
            found[uri] = answer
        else:
            # Only one is kept: each has a traceback and the response of the store, about 10 kB.
            forbidden = forbidden or answer
    return found, forbidden


def _look(uri: str) -> Entry | StorageError | None:
    """The entry of a file, the error if it is forbidden, or None if it is missing."""
    place = listed_location(uri)
    try:
        return stat_file(place)
    except (OSError, ValueError):
        return None
    except StorageError as error:
        if error.__cause__ and status_of(error.__cause__)[0] == _FORBIDDEN:
            return error
        raise
