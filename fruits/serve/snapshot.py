"""A private copy of a predictor's files on this machine.

Processes that die are restarted from it, even if the original files were changed or deleted.
"""

import asyncio
import errno
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fruits.errors import ConfigError, OutputError, StorageError
from fruits.predictor.files import MANIFEST, parse_manifest
from fruits.storage.failures import store_errors
from fruits.storage.location import Location, filesystem_of

# Errors of this machine, not of the place that is copied.
_LOCAL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class NoRoomError(ConfigError):
    """This machine has no space for the copies of any model."""


@dataclass(frozen=True)
class Snapshot:
    """The files of one model.

    Attributes:
        copies: The folder with the copies. It is deleted with this object, also if that is lost
            because the server stops while a thread makes it.
        place: The URI of the original folder.
        version: The first twelve digits of the SHA-256 of its manifest, which has the SHA-256 of
            each other file.
        stamp: The stamp of the original folder before the files were copied.
    """

    copies: "tempfile.TemporaryDirectory[str]"
    place: str
    version: str
    stamp: str

    @property
    def folder(self) -> str:
        """The path of the folder with the copies."""
        return self.copies.name

    def delete(self) -> None:
        """Deletes the copies."""
        self.copies.cleanup()


def stamp(place: Location) -> str:
    """A digest of names, sizes, times and tags, which changes if any file in a folder changes.

    Raises:
        StorageError: the store cannot be used, or the folder has no manifest.
    """
    # The caller checks repeatedly, so retries are not needed.
    filesystem, path = filesystem_of(place.uri, retry=False)
    filesystem.invalidate_cache()
    with store_errors(place.uri):
        found = filesystem.find(path, detail=True)
    # Of a missing folder, such as one on a disk that is not mounted, the listing is empty.
    if f"{path}/{MANIFEST}" not in found:
        raise StorageError(f"model: wanted the file {place / MANIFEST}; it is not there")
    marks = ("size", "mtime", "ino", "ETag", "LastModified")
    listing = sorted(
        (path, *(str(info.get(mark)) for mark in marks)) for path, info in found.items()
    )
    return hashlib.sha256(repr(listing).encode("utf-8", "surrogateescape")).hexdigest()


async def take(place: Location) -> Snapshot:
    """Copies a predictor's files in a thread; they are verified when they are loaded.

    If the task is cancelled, the thread ends after the present file.

    Raises:
        OutputError: the manifest is damaged, or a file is missing.
        NoRoomError: the copies cannot be written.
        StorageError: the store cannot be used, or a file cannot be read now.
    """
    stop = threading.Event()
    try:
        return await asyncio.to_thread(_copy, place, stop)
    finally:
        stop.set()


def _copy(place: Location, stop: threading.Event) -> Snapshot:
    before = stamp(place)
    with _new_folder() as copies, store_errors(place.uri):
        content: bytes = _present(place, before, MANIFEST, place.filesystem.cat_file)
        manifest = parse_manifest(content, str(place / MANIFEST))
        with open(os.path.join(copies.name, MANIFEST), "wb") as file:
            file.write(content)
        for name in manifest["files"]:
            if stop.is_set():
                raise asyncio.CancelledError
            target = os.path.join(copies.name, name)
            _present(place, before, name, place.filesystem.get_file, target)
    return Snapshot(copies, str(place), hashlib.sha256(content).hexdigest()[:12], before)


def _present(place: Location, before: str, name: str, read: Any, *arguments: str) -> Any:
    """Calls ``read`` for a file, and raises a clear error if it fails.

    A model is incomplete only if its stamp is still the one `before`: otherwise, it has changed, or
    its disk is gone, and may come back with the same stamp.
    """
    try:
        return read(f"{place.path}/{name}", *arguments)
    except OSError as error:
        if error.errno in _LOCAL:
            raise
        wanted = f"model: {place / name} cannot be read: {error}"
        if isinstance(error, FileNotFoundError) and stamp(place) == before:
            raise OutputError(wanted) from error
        raise StorageError(wanted) from error


@contextmanager
def _new_folder() -> "Iterator[tempfile.TemporaryDirectory[str]]":
    """A temporary folder that stays, unless the block fails."""
    copies = None
    try:
        copies = tempfile.TemporaryDirectory(prefix="fruits-model-", ignore_cleanup_errors=True)
        yield copies
    except BaseException as error:
        if copies:
            copies.cleanup()
        if isinstance(error, OSError):
            # Not gettempdir, which raises the same error if no folder can be written.
            place = os.path.dirname(copies.name) if copies else os.environ.get("TMPDIR", "/tmp")
            raise NoRoomError(
                f"TMPDIR: wanted room for a copy of the model in {place}; got: "
                f"{error.strerror}: make room there, or set TMPDIR to another folder"
            ) from error
        raise
