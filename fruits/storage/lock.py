"""One run at a time for each output: a lock file that its owner keeps alive.

A lock is dead when its process is gone from this machine, or when its content stands still while we
watch: no clock is compared, so clocks may differ. On local disks and S3 the file is created only if
it is not there; other stores are asked first.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fruits.errors import OutputError, StorageError
from fruits.storage.failures import store_errors
from fruits.storage.files import create, delete, replace
from fruits.storage.location import filesystem_of

BEAT_SECONDS = 5.0


# Beats without a sign of life after which an owner counts as dead.
PATIENCE = 4


class Lock:
    """A lock that is held.

    Args:
        uri: of the lock file.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._content = {"host": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex}
        self._beats = 0

    def require(self, patient: bool = True) -> None:
        """Makes sure that the lock is still ours, as it is not after a long sleep.

        Raises:
            OutputError: when another run took it.
        """
        owner = _owner(self.uri, patient)
        if not self.is_held_by(owner):
            raise OutputError(
                f"output: this run lost {self.uri} to {_name(owner)}, having given no sign of life "
                "for a while; what it committed is kept: run again when the other one has ended"
            )

    def is_held_by(self, owner: dict[str, Any] | None) -> bool:
        """Whether the content of a lock file is ours."""
        return owner is not None and owner["id"] == self._content["id"]

    def bytes(self) -> bytes:
        """The content of the file; it changes with every beat."""
        self._beats += 1
        return json.dumps(self._content | {"beat": self._beats}).encode()


@contextmanager
def exclusive(uri: str) -> Iterator[Lock]:
    """Holds a lock file for the time of the block.

    Raises:
        OutputError: when another run that is alive holds it.
    """
    lock = Lock(uri)
    try:
        with store_errors(uri):
            taken_over = False
            while not create(uri, lock.bytes()):
                owner = _owner(uri)
                if lock.is_held_by(owner):
                    break  # The store created it, but its answer was lost on the way.
                taken_over = True
                if owner and _is_alive(uri, owner):
                    raise OutputError(
                        f"output: {uri} says that {_name(owner)} is writing here; "
                        "wait for its end, or give another output"
                    )
                if owner and _owner(uri) == owner:
                    delete(uri)
            if taken_over:
                # Another run may have found the same one dead, and taken ours for it.
                time.sleep(BEAT_SECONDS / 2)
                lock.require()
    except OSError as error:
        raise OutputError(f"output: {uri} cannot be written: {error}") from error
    ended = threading.Event()
    thread = threading.Thread(target=_keep_alive, args=(lock, ended), daemon=True)
    thread.start()
    try:
        yield lock
    except BaseException:
        # The error is what counts. Where the store is away, the lock stays and is dead in a while.
        ended.set()
        thread.join()
        with suppress(OutputError, StorageError, OSError), store_errors(uri):
            lock.require(patient=False)
            delete(uri, retry=False)
        raise
    ended.set()
    thread.join()
    with store_errors(uri):
        lock.require()
        delete(uri)


def _keep_alive(lock: Lock, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        try:
            with store_errors(lock.uri):
                lock.require(patient=False)
                replace(lock.uri, lock.bytes(), retry=False)
        except OutputError:
            return  # The next commit finds out too, and stops the run.
        except (OSError, StorageError):
            continue  # A store that is away for a while; the others cannot reach it either.


def _is_alive(uri: str, owner: dict[str, Any]) -> bool:
    if owner["host"] == socket.gethostname() and not _runs(owner["pid"]):
        return False
    deadline = time.monotonic() + PATIENCE * BEAT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(BEAT_SECONDS / 5)
        if _owner(uri) != owner:
            return True
    return False


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _owner(uri: str, patient: bool = True) -> dict[str, Any] | None:
    """The content of a lock file, or None where there is none (any more)."""
    filesystem, path = filesystem_of(uri, patient)
    filesystem.invalidate_cache()
    try:
        owner: dict[str, Any] = json.loads(filesystem.cat_file(path))
    except FileNotFoundError:
        return None
    return owner


def _name(owner: dict[str, Any] | None) -> str:
    return f"process {owner['pid']} on {owner['host']}" if owner else "another run"
