"""Runs tasks in a few processes of this machine, which start in a second, without Java."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from multiprocessing import Pipe
from pathlib import Path
from threading import Event
from typing import Any, Generic

import cloudpickle

from fruits.errors import StorageError
from fruits.storage.processes import ending
from fruits.tasks.workers import Item, Result, Shared, T, WorkerDiedError

_SHARED = 4
"""Shared values that a worker keeps in memory, after the tasks that use them."""


class LocalWorkers:
    """A few processes of this machine: see :class:`fruits.tasks.workers.Workers`.

    A context manager: the processes end with its block.

    Args:
        slots: The number of processes.

    Attributes:
        slots: The number of processes.

    Raises:
        StorageError: There is no folder for temporary files.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._folder = _temporary_folder()
        self._workers: list[_Worker] = []
        self._cancelled = Event()

    def start(self) -> None:
        """Starts the processes, without waiting until they are ready; else :meth:`run` does."""
        self._workers = [worker for worker in self._workers if worker.runs()]
        while len(self._workers) < self.slots:
            self._workers.append(_Worker(self._folder.name))

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._folder.cleanup()

    @property
    def scratch(self) -> Callable[[], str]:
        """A folder that is deleted at the end."""
        return partial(str, self._folder.name)

    @contextmanager
    def share(self, value: T) -> Iterator[Shared[T]]:
        """Writes a value to a file, which each worker reads once, and deletes it at the end.

        Raises:
            StorageError: The file cannot be written.
        """
        path = Path(self._folder.name) / uuid.uuid4().hex
        try:
            yield _SharedFile(path, value)
        finally:
            path.unlink(missing_ok=True)

    def run(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        description: str,
        ended: list[Result] | None = None,
    ) -> list[Result]:
        """Runs the tasks; after an error, those that have started still end."""
        if not items:
            return []
        self.start()
        waiting = deque(enumerate(items))
        results: dict[int, Result] = {}

        def work_off(worker: _Worker) -> None:
            while not self._cancelled.is_set():
                try:
                    number, item = waiting.popleft()
                except IndexError:
                    return
                try:
                    results[number] = worker.call(work, item)
                except BaseException:
                    waiting.clear()
                    raise
                if ended is not None:
                    ended.append(results[number])

        with ThreadPoolExecutor(self.slots) as threads:
            try:
                some = self._workers[: len(items)]
                for thread in [threads.submit(work_off, worker) for worker in some]:
                    thread.result()
            except BaseException as error:
                waiting.clear()
                if not isinstance(error, Exception):
                    self._end()  # Otherwise an interruption would wait for the running tasks.
                raise
        if len(results) < len(items):
            raise WorkerDiedError("the tasks were cancelled")
        return [results[number] for number in range(len(items))]

    @contextmanager
    def cancellable(self) -> Iterator[Callable[[], None]]:
        """A function that ends all workers; the next :meth:`run` starts new ones."""

        def cancel() -> None:
            self._cancelled.set()
            self._end()

        try:
            yield cancel
        finally:
            self._cancelled.clear()

    def _end(self) -> None:
        for worker in self._workers:
            worker.end()


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder in the first one of SPARK_LOCAL_DIRS, which Spark uses too, or in TMPDIR."""
    place = os.environ.get("SPARK_LOCAL_DIRS", "").partition(",")[0] or None
    try:
        if place:
            os.makedirs(place, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="fruits-", dir=place)
    except OSError as error:
        raise _no_space(place or "temporary files", error) from error


def _no_space(place: str, error: OSError) -> StorageError:
    return StorageError(
        f"{place}: wanted a folder for temporary files; it cannot be written "
        f"({error.strerror or error}): make room there, or set TMPDIR or SPARK_LOCAL_DIRS to "
        "another folder"
    )


class _Worker:
    """A process that runs one task at a time.

    Args:
        folder: The temporary folder, which the process deletes if this one is killed.
    """

    def __init__(self, folder: str) -> None:
        # The process imports the same modules as this one, whose path may contain other objects.
        path = [one or os.getcwd() for one in sys.path if isinstance(one, str)]
        # As in the Python workers of Spark, tasks share the cores, not the threads of BLAS.
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
        self._connection, theirs = Pipe()
        with theirs:
            program = [sys.executable, "-P", "-m", "fruits.tasks.worker"]
            self._process = subprocess.Popen(
                [*program, str(theirs.fileno()), str(os.getpid()), folder],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
                process_group=0,  # Ctrl-C in a terminal is for this process alone.
            )

    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def call(self, work: Callable[[Item], Result], item: Item) -> Result:
        """Runs a task.

        Raises:
            WorkerDiedError: The process ended.
        """
        task = cloudpickle.dumps((work, item))
        try:
            self._connection.send_bytes(task)
            answer: tuple[Result, Exception | None] = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            self.end()
            raise WorkerDiedError(ending(self._process.returncode)) from error
        result, failure = answer
        if failure:
            raise failure
        return result

    def end(self) -> None:
        """Ends the process."""
        # The connection stays open: another thread may still wait for an answer.
        self._process.kill()
        self._process.wait()


class _SharedFile(Generic[T]):
    """A value in a file. Pickled, it is the path of the file alone."""

    def __init__(self, path: Path, value: T) -> None:
        self._path = path
        self._own: list[Any] = [value]
        try:
            path.write_bytes(cloudpickle.dumps(value))
        except OSError as error:
            raise _no_space(str(path.parent), error) from error

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_own": []}

    @property
    def value(self) -> T:
        """The value."""
        found: T = self._own[0] if self._own else _read(self._path)
        return found


@lru_cache(_SHARED)
def _read(path: Path) -> Any:
    return pickle.loads(path.read_bytes())
