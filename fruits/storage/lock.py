"""A lock file that allows one run at a time for each output; its owner keeps it alive.

The owner changes the file every few seconds. A lock that does not change while it is watched is
stale. Clocks are not compared, so they may differ. If the owner is certainly a process of this boot
and this PID namespace, the process itself is checked instead. On local disks and S3, one atomic
operation creates the file only if it does not exist; other stores are checked first.
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

# Seconds between two changes of the file.
BEAT_SECONDS = 5.0


# A lock that has not changed for this many beats is stale.
BEATS_MISSED = 4


# Some files, such as broken links, can never be created or read; give up after this many tries.
_MOST_TRIES = 100


# Ids of the locks that this process owns now; a notebook's process outlives its locks.
_OWN_IDS: set[str] = set()


@dataclass(frozen=True)
class Owner:
    """The content of a lock file, which may be damaged.

    Attributes:
        content: The content of the file; as long as it changes, the owner is alive.
        id: The id of the lock, or None if the file is damaged.
        name: A name for messages, on one line.
        process: The process that wrote the file, or None if the file does not name one.
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
    """A lock that this process owns.

    Args:
        uri: the URI of the lock file.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.id = uuid.uuid4().hex
        self._content = {"host": socket.gethostname(), "pid": os.getpid(), "id": self.id}
        if process := Process.current():
            self._content |= asdict(process)
        self._beats = 0

    def require(self, retry: bool = True) -> None:
        """Checks that this process still owns the lock; it may lose the lock while suspended.

        Raises:
            OutputError: another run took the lock.
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
        """The next content of the file; it changes with every beat."""
        self._beats += 1
        return json.dumps(self._content | {"beat": self._beats}).encode()


def is_free_or_lock(place: Location) -> bool:
    """Whether there is no file at the location of a lock, or the file is a lock, also a stale one.

    A damaged file counts as another file, since it may belong to somebody else.
    """
    try:
        owner = _owner(place.uri)
    except NotADirectoryError:  # No file can be here; the error is raised when it is written.
        return True
    except OSError:  # It is a folder, or reading it is forbidden.
        return False
    return owner is None or owner.id is not None


@contextmanager
def exclusive(uri: str) -> Iterator[Lock]:
    """Owns a lock file while the block runs.

    Raises:
        OutputError: another run that is alive owns it.
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
    """Creates the file as soon as no other run owns it."""
    uri = lock.uri
    try:
        with store_errors(uri):
            taken_over, tries = False, 0
            while not create(Location.of(uri), lock.bytes()):
                owner = _owner(uri)
                if lock.belongs_to(owner):
                    break  # The store created it, but its response was lost.
                taken_over = True
                tries += 1
                if tries > _MOST_TRIES:
                    raise OutputError(
                        f"output: {uri} can neither be created nor read; delete it, or choose "
                        "another output"
                    )
                if owner and _is_alive(uri, owner):
                    raise OutputError(
                        f"output: {uri} says that {owner.name} is writing here; "
                        "wait until it ends, or choose another output"
                    )
                if owner and _owner(uri) == owner:
                    delete(Location.of(uri))
            if taken_over:
                # Another run may have found the same stale lock and then deleted this one.
                time.sleep(BEAT_SECONDS / 2)
                lock.require()
    except (FileExistsError, NotADirectoryError):
        folder = uri.rpartition("/")[0]
        raise OutputError(
            f"output: {folder} is a file, or inside a file: choose another output"
        ) from None
    except OSError as error:
        raise OutputError(
            f"output: {uri} cannot be written: {error.strerror or error}: "
            "give another output, or a folder that may be written to"
        ) from error


@contextmanager
def _kept_alive(lock: Lock) -> Iterator[None]:
    """Changes the file regularly while the block runs, and deletes it at the end."""
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
            delete(Location.of(lock.uri, retry=False))
        raise
    ended.set()
    thread.join()
    with store_errors(lock.uri):
        lock.require()
        delete(Location.of(lock.uri))


def _keep_alive(lock: Lock, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        try:
            with store_errors(lock.uri):
                lock.require(retry=False)
                replace(Location.of(lock.uri, retry=False), lock.bytes())
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
    """The owner that a lock file names, or None if there is no file (any more)."""
    filesystem, path = filesystem_of(uri, retry)
    filesystem.invalidate_cache()
    try:
        return Owner.of(filesystem.cat_file(path))
    except FileNotFoundError:
        return None
