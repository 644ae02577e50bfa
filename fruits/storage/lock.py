"""One run at a time for each output: a lock file that its owner keeps alive.

The owner changes the file every few seconds. A lock that does not change while it is watched is
stale: clocks are not compared, so they may differ. Only where the owner is provably a process of
this boot and of this namespace of process ids, the process itself is checked instead. On local
disks and S3 the file is created only if it does not exist; other stores are checked first.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from fruits.errors import OutputError, StorageError, one_line
from fruits.storage.failures import store_errors
from fruits.storage.files import create, delete, replace
from fruits.storage.location import Location, filesystem_of
from fruits.storage.processes import Process

# Seconds from one change of the file to the next.
BEAT_SECONDS = 5.0


# A lock that has not changed for so many beats is stale.
BEATS_MISSED = 4


# A file that could be neither created nor read so often never will be, as a broken link.
_MOST_TRIES = 100


# Of the locks that this process has now; the process of a notebook runs longer than its locks.
_OWN_IDS: set[str] = set()


@dataclass(frozen=True)
class Owner:
    """The content of a lock file, which may be damaged.

    Attributes:
        content: of the file; as long as it changes, the owner is alive.
        id: of the lock, or None where the file is damaged.
        name: for messages, on one line.
        process: that wrote it, or None where the file does not say.
    """

    content: bytes
    id: str | None
    name: str
    process: Process | None

    @classmethod
    def of(cls, content: bytes) -> "Owner":
        """Reads the content of a lock file."""
        try:
            fields = json.loads(content)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            return cls(content, None, "another run (the file is damaged)", None)
        pid, host, number = fields.get("pid"), fields.get("host"), fields.get("id")
        name = "another run"
        if isinstance(host, str) and type(pid) is int:
            name = one_line(f"process {pid} on {host}"[:200])
        known = isinstance(number, str)
        return cls(content, number if known else None, name, Process.from_json(fields))


class Lock:
    """A lock that this process has.

    Args:
        uri: of the lock file.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.id = uuid.uuid4().hex
        self._content = {"host": socket.gethostname(), "pid": os.getpid(), "id": self.id}
        if process := Process.current():
            self._content |= asdict(process)
        self._beats = 0

    def require(self, retry: bool = True) -> None:
        """Makes sure that this process still has the lock, which it may lose while it is suspended.

        Raises:
            OutputError: when another run took it.
        """
        owner = _owner(self.uri, retry)
        if not self.belongs_to(owner):
            raise OutputError(
                f"output: this run lost {self.uri} to {owner.name if owner else 'another run'}, "
                "because it could not write to it for a while; what it committed is kept: run "
                "again when the other one has ended"
            )

    def belongs_to(self, owner: Owner | None) -> bool:
        """Whether the lock in the file is this one."""
        return owner is not None and owner.id == self.id

    def bytes(self) -> bytes:
        """The content of the file; it changes with every beat."""
        self._beats += 1
        return json.dumps(self._content | {"beat": self._beats}).encode()


def is_free_or_lock(place: Location) -> bool:
    """Whether a place for a lock is free, or has one, which may be that of a run that died.

    In a folder that a run has used, a damaged file is a damaged lock. Elsewhere it is somebody's.
    """
    try:
        owner = _owner(place.uri)
    except NotADirectoryError:  # There is nothing, nor can there be: writing will say so.
        return True
    except OSError:  # It is a folder, or may not be read.
        return False
    return owner is None or owner.id is not None


@contextmanager
def exclusive(uri: str) -> Iterator[Lock]:
    """Keeps a lock file for the time of the block.

    Raises:
        OutputError: when another run that is alive has it.
    """
    lock = Lock(uri)
    _OWN_IDS.add(lock.id)
    try:
        _acquire(lock)
        with _kept_alive(lock):
            yield lock
    finally:
        _OWN_IDS.discard(lock.id)


def _acquire(lock: Lock) -> None:
    """Creates the file, once no other run has it."""
    uri = lock.uri
    try:
        with store_errors(uri):
            taken_over, tries = False, 0
            while not create(uri, lock.bytes()):
                owner = _owner(uri)
                if lock.belongs_to(owner):
                    break  # The store created it, but its answer was lost on the way.
                taken_over = True
                tries += 1
                if tries > _MOST_TRIES:
                    raise OutputError(
                        f"output: {uri} can neither be created nor read; delete it, or give "
                        "another output"
                    )
                if owner and _is_alive(uri, owner):
                    raise OutputError(
                        f"output: {uri} says that {owner.name} is writing here; "
                        "wait for its end, or give another output"
                    )
                if owner and _owner(uri) == owner:
                    delete(uri)
            if taken_over:
                # Another run may have found the same stale lock, and deleted this one instead.
                time.sleep(BEAT_SECONDS / 2)
                lock.require()
    except OSError as error:
        raise OutputError(f"output: {uri} cannot be written: {error}") from error


@contextmanager
def _kept_alive(lock: Lock) -> Iterator[None]:
    """Changes the file regularly within the block, and deletes it at the end."""
    ended = threading.Event()
    thread = threading.Thread(target=_keep_alive, args=(lock, ended), daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        # The error of the block is raised. If the store is unreachable, the lock becomes stale.
        ended.set()
        thread.join()
        with suppress(OutputError, StorageError, OSError), store_errors(lock.uri):
            lock.require(retry=False)
            delete(lock.uri, retry=False)
        raise
    ended.set()
    thread.join()
    with store_errors(lock.uri):
        lock.require()
        delete(lock.uri)


def _keep_alive(lock: Lock, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        try:
            with store_errors(lock.uri):
                lock.require(retry=False)
                replace(lock.uri, lock.bytes(), retry=False)
        except OutputError:
            return  # The next commit notices it too, and stops the run.
        except (OSError, StorageError):
            continue  # If the store is unreachable for a while, other runs cannot reach it either.


def _is_alive(uri: str, owner: Owner) -> bool:
    process = owner.process
    if process and (runs := process.runs()) is not None:
        return runs and (process != Process.current() or owner.id in _OWN_IDS)
    deadline = time.monotonic() + BEATS_MISSED * BEAT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(BEAT_SECONDS / 5)
        if _owner(uri) != owner:
            return True
    return False


def _owner(uri: str, retry: bool = True) -> Owner | None:
    """What a lock file says, or None where there is none (any more)."""
    filesystem, path = filesystem_of(uri, retry)
    filesystem.invalidate_cache()
    try:
        return Owner.of(filesystem.cat_file(path))
    except FileNotFoundError:
        return None
