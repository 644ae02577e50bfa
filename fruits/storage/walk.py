"""Lists every file below a folder, in any store; a folder that cannot be listed is an error.

Symbolic links are followed. A link to a folder counts as a separate folder, even if its target is
also listed under another name. Two kinds of links are skipped, so that every walk ends: a link to a
folder that contains the link; and, inside a linked folder, a link to a folder that was already
reached through the same outer link.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Literal, NamedTuple

from fruits.storage.files import probe
from fruits.storage.location import Location
from fruits.storage.s3_listing import Object, bucket_and_prefix, objects, objects_in

Kind = Literal["file", "special file", "broken link", "linked folder", "repeated folder"]

# The errors of broken and of circular links.
_BROKEN = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

# In microseconds since 1970: Python's datetime has the years 1 to 9999, a wrong clock also others.
_EARLIEST, _LATEST = -62_000_000_000_000_000, 250_000_000_000_000_000

# Device and inode.
_Identity = tuple[int, int]


class Entry(NamedTuple):
    """A file or a link that a walk found.

    Attributes:
        name: The path relative to the root of the walk, with `/`. Bytes that are not UTF-8 are
            surrogate escapes. In S3, an object whose name is that of a folder, and ends in `/`, is
            an entry if it has a content.
        kind: The kind of entry; a "linked folder" was entered, a "repeated folder" was skipped.
        length: The length of a file, in bytes.
        modified: The time of a file's last change, in microseconds since 1970 and between the years
            5 and 9892, or a datetime.
        target: The real path of a linked folder.
    """

    name: str
    kind: Kind = "file"
    length: int = 0
    modified: datetime | int = 0
    target: str = ""


def walk(root: Location, enters: Callable[[str], bool]) -> Iterator[Entry]:
    """Yields every file below a folder, in no particular order.

    Args:
        root: the folder.
        enters: decides by its name (see :class:`Entry`) whether a folder is entered. A store
            without folders, such as S3, ignores it.

    Raises:
        FileNotFoundError: the folder does not exist, or a folder disappeared during the walk.
        NotADirectoryError: `root` is a file.
        OSError: a folder cannot be listed; if the store has folders, `filename` names it.
    """
    if root.is_local:
        return _walk_local(root.path, enters)
    if root.is_s3:
        return _walk_s3(root)
    return _walk_other(root, enters)


def stat_file(location: Location) -> Entry:
    """The entry of one file; its name is the last part of the path.

    Raises:
        FileNotFoundError: the file does not exist.
        OSError: it is a folder, or access is denied.
        StorageError: the store cannot be used.
    """
    name = location.path.rpartition("/")[2]
    if location.is_local:
        return _file(name, os.stat(location.path))
    info = probe(location)
    if info["type"] != "file":
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), location.uri)
    return Entry(name, "file", info["size"] or 0, _modified(info))


def files_in(folder: Location, first: str = "", last: str | None = None) -> Iterator[Entry]:
    """Yields every file directly in a folder, but not in its subfolders; see :func:`walk`.

    Args:
        folder: the folder.
        first: the first name that is wanted; S3 need not list those before it.
        last: the last name that is wanted, or None for all after the first one.
    """
    if folder.is_local:
        return (one for one in _walk_local(folder.path, lambda _: False) if one.kind == "file")
    if folder.is_s3:
        return _files_in_s3(folder, first, last)
    return (one for one in _walk_other(folder, lambda _: False) if one.kind == "file")


class _Folder(NamedTuple):
    """A local folder.

    Attributes:
        name: The name, see :class:`Entry`; "" for the root.
        path: The path.
        above: The identities of this folder and of all folders that contain it.
        reached: Inside a linked folder, the identities of the folders already reached through that
            link; otherwise None.
    """

    name: str
    path: str
    above: frozenset[_Identity]
    reached: set[_Identity] | None = None

    def name_of(self, name: str) -> str:
        """The name of an entry of this folder, see :class:`Entry`."""
        return f"{self.name}/{name}" if self.name else name


def _walk_local(root: str, enters: Callable[[str], bool]) -> Iterator[Entry]:
    folder = _Folder("", root, _containing(root))
    # Only names, because there may be a million; those of each folder are sorted in reverse, and
    # the last one is listed next.
    pending: list[tuple[_Folder, list[str]]] = []
    while True:
        subfolders: list[str] = []
        yield from _scan(folder, enters, subfolders)
        subfolders.sort(reverse=True)
        pending.append((folder, subfolders))
        while not pending[-1][1]:
            pending.pop()
            if not pending:
                return
        parent, names = pending[-1]
        folder = _enter(parent, names.pop())


def _scan(folder: _Folder, enters: Callable[[str], bool], subfolders: list[str]) -> Iterator[Entry]:
    """Yields the files of a folder, which are not kept, and then its links to folders.

    The names of the subfolders and of the links that must be entered are added to `subfolders`.
    """
    linked: list[tuple[str, _Identity]] = []
    missed = False
    with os.scandir(folder.path) as entries:
        for entry in entries:
            name = folder.name_of(entry.name)
            try:
                if entry.is_dir(follow_symlinks=False):
                    if enters(name):
                        subfolders.append(entry.name)
                    continue
                one = _look(entry, name)
            except FileNotFoundError:
                missed = True  # It was deleted, or the folder has another name now.
                continue
            except PermissionError as error:
                # The folder can be read but not entered: the folder is reported, not the file.
                at_fault = entry.path if entry.is_symlink() else folder.path
                raise PermissionError(error.errno, error.strerror, at_fault) from None
            if isinstance(one, Entry):
                yield one
            elif enters(name):
                linked.append((entry.name, one))
    # The scan keeps the folder open to its end, so that no new folder has the same identity.
    if missed and _identity(os.stat(folder.path)) not in folder.above:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder.path)
    # Of several links to the same folder, the first one by name is entered.
    for link, identity in sorted(linked):
        name = folder.name_of(link)
        if identity in folder.above or identity in (folder.reached or ()):
            yield Entry(name, "repeated folder")
            continue
        if folder.reached is not None:
            folder.reached.add(identity)
        subfolders.append(link)
        yield Entry(name, "linked folder", target=os.path.realpath(os.path.join(folder.path, link)))


def _look(entry: os.DirEntry[str], name: str) -> Entry | _Identity:
    """The entry of a file or of a link to a file; of a link to a folder, the folder's identity."""
    if not entry.is_symlink():
        return _file(name, entry.stat(follow_symlinks=False))
    try:
        status = os.stat(entry.path)
    except OSError as error:
        if error.errno not in _BROKEN:
            raise
        own = entry.stat(follow_symlinks=False)
        return _file(name, own)._replace(kind="broken link")
    return _identity(status) if stat.S_ISDIR(status.st_mode) else _file(name, status)


def _enter(parent: _Folder, name: str) -> _Folder:
    """A subfolder or a linked folder of a folder."""
    path = os.path.join(parent.path, name)  # A root may end in a slash.
    try:
        status = os.lstat(path)
    except PermissionError as error:
        # The parent can be read but not entered.
        raise PermissionError(error.errno, error.strerror, parent.path) from None
    if not stat.S_ISLNK(status.st_mode):
        above = parent.above | {_identity(status)}
        return _Folder(parent.name_of(name), path, above, parent.reached)
    above = parent.above | _containing(path)
    reached = {_identity(os.stat(path))} if parent.reached is None else parent.reached
    return _Folder(parent.name_of(name), path, above, reached)


def _file(name: str, status: os.stat_result) -> Entry:
    kind: Kind = "file" if stat.S_ISREG(status.st_mode) else "special file"
    return Entry(name, kind, status.st_size, _clamped(status.st_mtime_ns // 1000))


def _clamped(modified: int) -> int:
    return min(max(modified, _EARLIEST), _LATEST)


def _containing(path: str) -> frozenset[_Identity]:
    """The identities of a folder and of all folders that contain it, by its real path."""
    path = os.path.realpath(path)
    found = {_identity(os.stat(path))}
    while (parent := os.path.dirname(path)) != path:
        path = parent
        found.add(_identity(os.stat(path)))
    return frozenset(found)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _walk_s3(root: Location) -> Iterator[Entry]:
    found = objects(root.filesystem, root.path)
    first = next(found, None)
    if first is None:
        there = root.filesystem.exists(root.path)
        number = errno.ENOTDIR if there else errno.ENOENT
        raise OSError(number, os.strerror(number), root.uri)
    yield from _entries(root, itertools.chain([first], found))


def _files_in_s3(folder: Location, first: str, last: str | None) -> Iterator[Entry]:
    found = False
    for entry in _entries(folder, objects_in(folder.filesystem, folder.path, first, last)):
        found = True
        if entry.name:  # It is not the folder itself.
            yield entry
    if not found:
        _require_folder(folder)


def _entries(root: Location, found: Iterable[Object]) -> Iterator[Entry]:
    # In S3, a folder is only a common prefix of the names of objects.
    start = len(bucket_and_prefix(root.path)[1])
    for one in found:
        name = one["Key"][start:]
        # Consoles create an empty object to represent a folder; no other one is left out.
        if one["Size"] or (name and not name.endswith("/")):
            yield Entry(name, "file", one["Size"], one["LastModified"])


def _require_folder(root: Location) -> None:
    if root.filesystem.info(root.path)["type"] != "directory":
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), root.uri)


def _walk_other(root: Location, enters: Callable[[str], bool]) -> Iterator[Entry]:
    _require_folder(root)
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
    """When a file was last changed; file systems use different keys. 0 if unknown."""
    for key in ("LastModified", "mtime", "last_modified", "updated", "created"):
        modified = info.get(key)
        if isinstance(modified, datetime):
            return modified
        if modified is not None:
            return _clamped(int(modified * 1_000_000))
    return 0
