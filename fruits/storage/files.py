"""Reads, creates, replaces, moves and deletes files of any store; writes are atomic."""

import errno
import hashlib
import os
import posixpath
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from fruits.errors import StorageError
from fruits.storage.failures import status_of, store_errors
from fruits.storage.location import Location, is_local, listed_at
from fruits.storage.new_name import give_new_name
from fruits.storage.temporary import temporary_folder

PRECONDITION_FAILED = 412


def probe(place: Location) -> dict[str, Any]:
    """The store's information about a file or a folder: ``type``, ``size`` and others.

    Call it before other requests: if the store is unreachable or refuses, this fails within
    seconds, while other requests are retried for a minute.

    Raises:
        OSError: the file or folder does not exist, or access to it is denied.
        StorageError: the store cannot be used.
    """
    filesystem, path = listed_at(place.uri, retry=False)
    with store_errors(place.uri):
        found: dict[str, Any] = filesystem.info(path)
    return found


def paths_in(folder: Location) -> list[str]:
    """Paths of the entries of a folder, without any cache; none if the folder does not exist."""
    filesystem, path = folder.filesystem, folder.path
    filesystem.invalidate_cache()
    return [*filesystem.ls(path, detail=False)] if filesystem.exists(path) else []


def sha256_of(place: Location) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    probe(place)
    with place.filesystem.open(place.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(uri: str) -> bytes:
    """The content of a file that a listing names.

    Raises:
        OSError: this file cannot be read: it is missing, is a folder, or reading it is forbidden.
        StorageError: the store cannot be used, also after retries.
    """
    filesystem, path = listed_at(uri)
    if is_local(filesystem):
        with opened(path) as file:
            return file.read()
    with object_errors(uri):
        content: bytes = filesystem.cat_file(path)
    return content


def read_range(uri: str, start: int, length: int) -> bytes:
    """A range of bytes of a file that a listing names, in one request; fewer at the file's end.

    Raises:
        OSError: see :func:`read`.
        StorageError: see :func:`read`.
    """
    if length <= 0:
        return b""
    filesystem, path = listed_at(uri)
    if is_local(filesystem):
        with opened(path) as file:
            file.seek(start)
            return file.read(length)
    with object_errors(uri):
        content: bytes = filesystem.cat_file(path, start=start, end=start + length)
    return content


@contextmanager
def local_file(uri: str) -> Iterator[str]:
    """The path of a local file with the content of a file that a listing names.

    A file in a store is copied into a temporary folder, which is deleted after the block.

    Raises:
        OSError: see :func:`read`.
        StorageError: see :func:`read`.
    """
    filesystem, path = listed_at(uri)
    if is_local(filesystem):
        yield path
        return
    with temporary_folder() as folder:
        copy = os.path.join(folder, "copy")
        with object_errors(uri):
            filesystem.get_file(path, copy)
        yield copy


@contextmanager
def object_errors(uri: str) -> Iterator[None]:
    """Distinguishes an object that cannot be read from a store that cannot be used."""
    try:
        with store_errors(uri):
            yield
    except StorageError as error:
        code = status_of(error.__cause__)[1] if error.__cause__ else ""
        # Access to this one object is denied; refused credentials have other codes.
        if code == "AccessDenied":
            raise PermissionError(str(error.__cause__)) from error
        if code == "InvalidRange":
            raise OSError(errno.EIO, "the file is shorter than it was", uri) from error
        raise
    except UnicodeEncodeError as error:
        raise _impossible(uri) from error


def opened(path: str) -> BinaryIO:
    """Opens a local file without a buffer.

    Raises:
        OSError: the file is missing, is not a regular file, or may not be read.
    """
    try:
        file = open(path, "rb", buffering=0, opener=_open_at_once)  # noqa: SIM115 - caller closes
    except ValueError as error:  # The path has a zero byte, or half of a surrogate pair.
        raise _impossible(path) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", path)
    return file


def _impossible(name: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "no file can have this name", name)


def _open_at_once(path: str, flags: int) -> int:
    # Opening a pipe would wait for someone to write into it.
    return os.open(path, flags | os.O_NONBLOCK)


def create(place: Location, content: bytes) -> bool:
    """Writes a small file unless it exists; returns whether it was written."""
    filesystem, path = place.filesystem, place.path
    if place.is_local:
        with _temporary_file(path, content) as temporary:
            return give_new_name(temporary, path)
    filesystem.invalidate_cache()
    if filesystem.exists(path):
        return False
    try:
        filesystem.pipe_file(path, content, mode="create")
    except OSError as error:
        # Not every store reports which condition failed.
        if isinstance(error, FileExistsError) or status_of(error)[0] == PRECONDITION_FAILED:
            return False
        raise
    return True


def replace(place: Location, content: bytes) -> None:
    """Writes a small file atomically: readers see the old content or the new one."""
    if not place.is_local:
        place.filesystem.pipe_file(place.path, content)
        return
    with _temporary_file(place.path, content) as temporary:
        os.replace(temporary, place.path)


def delete(place: Location) -> None:
    """Deletes a file if it exists."""
    if place.filesystem.exists(place.path):
        place.filesystem.rm_file(place.path)


def delete_folder(place: Location) -> None:
    """Deletes a folder with everything in it, or a file, if it exists.

    Raises:
        OSError: a file in the folder cannot be deleted.
    """
    filesystem, path = place.filesystem, place.path
    if place.is_s3:
        # S3 has no folders: a folder is a prefix of names, and a literal one.
        delete_files(place, [*filesystem.find(path)])
    elif filesystem.lexists(path):
        filesystem.rm(path, recursive=True)


def delete_files(folder: Location, paths: Sequence[str]) -> None:
    """Deletes those files of one store that exist, by their exact names.

    Args:
        folder: any location in the store.
        paths: the paths of the files in the store's file system.

    Raises:
        OSError: a file cannot be deleted.
    """
    if folder.is_s3:
        folder.filesystem.delete_objects(paths)
        return
    for path in paths:
        with suppress(FileNotFoundError):
            folder.filesystem.rm_file(path)


def move(files: Sequence[Location], folder: Location) -> None:
    """Moves files into another folder of the same file system."""
    if not files:
        return
    paths = [file.path for file in files]
    targets = [(folder / posixpath.basename(path)).path for path in paths]
    if folder.is_local:
        os.makedirs(folder.path, exist_ok=True)
        for path, new in zip(paths, targets, strict=True):
            os.replace(path, new)
    else:
        # Lists, so that the store copies many files at the same time.
        folder.filesystem.copy(paths, targets)
        delete_files(folder, paths)


def link_or_copy(source: Location, target: Location) -> None:
    """Links or copies a file that is never changed; a link costs no space.

    Raises:
        FileNotFoundError: there is no such file.
    """
    target.filesystem.makedirs(target.path.rpartition("/")[0], exist_ok=True)
    if not (target.is_local and _is_linked(source.path, target.path)):
        target.filesystem.cp_file(source.path, target.path)


def _is_linked(source: str, target: str) -> bool:
    """Links a local file; False if the file system has no links."""
    try:
        os.link(source, target)
    except FileExistsError:  # The task was repeated.
        return True
    except OSError:
        return False
    return True


@contextmanager
def _temporary_file(path: str, content: bytes) -> Iterator[str]:
    """A temporary file next to a path; a missing folder is created."""
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f"_{uuid.uuid4().hex}.{name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        Path(temporary).unlink(missing_ok=True)
