"""Folders for temporary files that may be large: those of killed processes are deleted."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fruits.errors import StorageError, one_line

# With the name of the machine: if machines share a folder, not all of them may see a lock.
_PREFIX = f"fruits-parts-{socket.gethostname()}-"
_NAME = re.compile(re.escape(_PREFIX) + "[^-]+")

_NEW = 60
"""The seconds after which a folder without a lock belongs to nobody: its owner locks it at once."""


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is deleted when it is no longer used, or by a later process after a kill.

    Raises:
        StorageError: it cannot be created.
    """
    with temporary_writes():
        folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
    with suppress(OSError):  # Some file systems have no locks; then nobody deletes it.
        # The kernel releases the lock when this process ends, however it ends.
        lock = _locked(folder.name)
        weakref.finalize(folder, os.close, lock)
    _sweep(os.path.dirname(folder.name))
    return folder


@contextmanager
def temporary_writes() -> Iterator[None]:
    """For writing to a temporary folder: an OSError is not a fault of what is read meanwhile.

    Raises:
        StorageError: instead of an OSError in the block.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"TMPDIR: wanted to write temporary files; got: {one_line(error)}: free some space, or "
            "set TMPDIR to another folder"
        ) from error


def _sweep(place: str) -> None:
    """Deletes the folders of processes of this user that have ended."""
    try:
        with os.scandir(place) as entries:
            folders = [one.path for one in entries if _NAME.fullmatch(one.name)]
    except OSError:
        return  # A folder may be open for new files only.
    for folder in folders:
        with suppress(OSError):
            status = os.lstat(folder)
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _NEW:
                continue
            lock = _locked(folder)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _locked(folder: str) -> int:
    """A descriptor that locks a folder; raises OSError if another process has locked it."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
