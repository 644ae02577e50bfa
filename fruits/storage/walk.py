"""Every file below a folder, of any store; a folder that cannot be listed is an error.

Symbolic links are followed. A link to a folder is a folder of its own, also where its target is
listed under another name. Two kinds of links are not entered: a link to a folder that contains the
link, and, below a folder that a link led to, a link to a folder to which that link has led already.
So every walk ends.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Literal, NamedTuple

from fruits.storage.files import probe
from fruits.storage.location import Location
from fruits.storage.s3_listing import objects

Kind = Literal["file", "special file", "broken link", "linked folder", "repeated folder"]

# The errors of broken and of circular links.
_BROKEN = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Entry(NamedTuple):
    """What a walk has found.

    Attributes:
        name: its path below the folder that was asked for, with `/`. Bytes that are not UTF-8 are
            surrogates, as Python has them.
        kind: a linked folder has been entered, a repeated one has not.
        length: of a file, in bytes.
        modified: time of a file's last change, in microseconds since 1970 began, or a datetime.
        target: of a linked folder, its real path.
    """

    name: str
    kind: Kind = "file"
    length: int = 0
    modified: datetime | int = 0
    target: str = ""


def walk(root: Location, enters: Callable[[str], bool]) -> Iterator[Entry]:
    """Every file below a folder, in no particular order.

    Args:
        root: the folder.
        enters: whether a folder is to be entered, by its name as in :class:`Entry`. A store without
            folders lists the files in them all the same.

    Raises:
        FileNotFoundError: there is no such folder, or a folder has gone while it was listed.
        NotADirectoryError: it is a file.
        OSError: a folder cannot be listed. `filename` is that folder, where the store has folders.
    """
    if root.is_local:
        return _walk_local(root.path, enters)
    if root.is_s3:
        return _walk_s3(root)
    return _walk_other(root, enters)


def look_at(location: Location) -> Entry:
    """One file, as a walk describes those that it finds; its name is the last part of the path.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it is a folder, or cannot be looked at.
        StorageError: the store cannot be used.
    """
    name = location.path.rpartition("/")[2]
    if location.is_local:
        return _file(name, os.stat(location.path))
    info = probe(location)
    if info["type"] != "file":
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), location.uri)
    return Entry(name, "file", info["size"] or 0, _modified(info))


def files_in(folder: Location) -> Iterator[Entry]:
    """Every file that is directly in a folder, and nothing below it; errors as in :func:`walk`."""
    if folder.is_local:
        return (one for one in _walk_local(folder.path, lambda _: False) if one.kind == "file")
    return (one for one in _walk_other(folder, lambda _: False) if one.kind == "file")


class _Folder(NamedTuple):
    """A local folder that is still to be listed.

    Attributes:
        name: as in :class:`Entry`; "" for the root.
        path: its path.
        above: identities (device, number) of the folders that contain it, itself included.
        led: below a link, identities of the folders to which that link has led; else None.
    """

    name: str
    path: str
    above: frozenset[tuple[int, int]]
    led: set[tuple[int, int]] | None = None


def _walk_local(root: str, enters: Callable[[str], bool]) -> Iterator[Entry]:
    pending = [_Folder("", root, _containing(root))]
    while pending:
        folder = pending.pop()
        found: list[_Folder] = []
        with os.scandir(folder.path) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                name = f"{folder.name}/{entry.name}" if folder.name else entry.name
                try:
                    one = _look(entry, name, folder, enters)
                except FileNotFoundError:
                    continue  # Deleted since the folder was listed: it is not there.
                except PermissionError as error:
                    # The folder can be read but not entered: the folder is reported, not the file.
                    at_fault = entry.path if entry.is_symlink() else folder.path
                    raise PermissionError(error.errno, error.strerror, at_fault) from None
                if isinstance(one, _Folder):
                    found.append(one)
                    if entry.is_symlink():
                        yield Entry(name, "linked folder", target=os.path.realpath(one.path))
                elif one:
                    yield one
        # The last one is listed next: in the order of the names.
        pending += reversed(found)


def _look(
    entry: os.DirEntry[str], name: str, folder: _Folder, enters: Callable[[str], bool]
) -> Entry | _Folder | None:
    """What an entry of a folder is; None for a folder that is not to be entered."""
    if not entry.is_symlink():
        if entry.is_dir(follow_symlinks=False):
            above = folder.above | {_identity(entry.stat(follow_symlinks=False))}
            return _Folder(name, entry.path, above, folder.led) if enters(name) else None
        return _file(name, entry.stat(follow_symlinks=False))
    try:
        status = os.stat(entry.path)
    except OSError as error:
        if error.errno not in _BROKEN:
            raise
        own = entry.stat(follow_symlinks=False)
        return _file(name, own)._replace(kind="broken link")
    if not stat.S_ISDIR(status.st_mode):
        return _file(name, status)
    if not enters(name):
        return None
    identity = _identity(status)
    led = set() if folder.led is None else folder.led
    if identity in folder.above or identity in led:
        return Entry(name, "repeated folder")
    led.add(identity)
    return _Folder(name, entry.path, folder.above | _containing(entry.path), led)


def _file(name: str, status: os.stat_result) -> Entry:
    kind: Kind = "file" if stat.S_ISREG(status.st_mode) else "special file"
    return Entry(name, kind, status.st_size, status.st_mtime_ns // 1000)


def _containing(path: str) -> frozenset[tuple[int, int]]:
    """Identities of a folder and of all that contain it, where its path really leads."""
    path = os.path.realpath(path)
    found = {_identity(os.stat(path))}
    while (parent := os.path.dirname(path)) != path:
        path = parent
        found.add(_identity(os.stat(path)))
    return frozenset(found)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _walk_s3(root: Location) -> Iterator[Entry]:
    # A folder is only a common prefix of the names of objects.
    start = len(root.filesystem.split_path(root.path)[1]) + 1
    found = False
    for one in objects(root.filesystem, root.path):
        found = True
        name = one["Key"][start if start > 1 else 0 :]
        # Consoles create an empty object to represent a folder.
        if not name.endswith("/") and name:
            yield Entry(name, "file", one["Size"], one["LastModified"])
    if not found:
        there = root.filesystem.exists(root.path)
        number = errno.ENOTDIR if there else errno.ENOENT
        raise OSError(number, os.strerror(number), root.uri)


def _walk_other(root: Location, enters: Callable[[str], bool]) -> Iterator[Entry]:
    if root.filesystem.info(root.path)["type"] != "directory":
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), root.uri)
    pending = [root.path]
    start = len(root.path.rstrip("/")) + 1
    while pending:
        for info in root.filesystem.ls(pending.pop(), detail=True):
            name = info["name"][start:]
            if info["type"] == "file":
                yield Entry(name, "file", info["size"] or 0, _modified(info))
            elif info["type"] != "directory":
                yield Entry(name, "special file")
            elif enters(name):
                pending.append(info["name"])


def _modified(info: dict[str, Any]) -> datetime | int:
    """When a file was last changed, under the names that file systems have for it; 0 if unknown."""
    for key in ("LastModified", "mtime", "last_modified", "updated", "created"):
        modified = info.get(key)
        if isinstance(modified, datetime):
            return modified
        if modified is not None:
            return int(modified * 1_000_000)
    return 0
