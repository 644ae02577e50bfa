"""Runs tasks in a few processes of this machine, which start in a second, without Java."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Generic, TypeVar

import cloudpickle

from fruits.tasks.workers import Shared, WorkerDiedError

Item = TypeVar("Item")
Result = TypeVar("Result")
T = TypeVar("T")

_SHARED = 4
"""Shared values that a worker keeps in memory, after the tasks that use them."""


class LocalWorkers:
    """A few processes of this machine: see :class:`fruits.tasks.workers.Workers`.

    A context manager: the processes end with its block.

    Args:
        slots: The number of processes.

    Attributes:
        slots: The number of processes.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._folder = tempfile.TemporaryDirectory(prefix="fruits-")
        self._workers: list[_Worker] = []

    def start(self) -> None:
        """Starts the processes, without waiting until they are ready; else :meth:`run` does."""
        running = [worker for worker in self._workers if worker.runs()]
        self._workers = running + [_Worker() for _ in range(self.slots - len(running))]

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._folder.cleanup()

    @property
    def scratch(self) -> Callable[[], str]:
        """A folder that is deleted at the end."""
        return partial(str, self._folder.name)

    def share(self, value: T) -> Shared[T]:
        """Writes a value to a file, which each worker reads once."""
        return _SharedFile(Path(self._folder.name) / uuid.uuid4().hex, value)

    def run(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        description: str,
        ended: list[Result] | None = None,
    ) -> list[Result]:
        """Runs the tasks; after an error, those that have started still end."""
        self.start()
        waiting = deque(enumerate(items))
        results: dict[int, Result] = {}

        def work_off(worker: _Worker) -> None:
            while True:
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
            running = [threads.submit(work_off, one) for one in self._workers[: len(items)]]
            try:
                for thread in running:
                    thread.result()
            except KeyboardInterrupt:
                waiting.clear()
                self._end()  # Otherwise the threads would wait for their tasks.
                raise
        return [results[number] for number in range(len(items))]

    @contextmanager
    def cancellable(self) -> Iterator[Callable[[], None]]:
        """A function that ends all workers; the next :meth:`run` starts new ones."""
        yield self._end

    def _end(self) -> None:
        for worker in self._workers:
            worker.end()


class _Worker:
    """A process that runs one task at a time."""

    def __init__(self) -> None:
        # Like the Python workers of Spark, they share the cores by tasks, not by threads of BLAS.
        # They import the same modules as this process.
        path = os.pathsep.join(filter(None, sys.path))
        environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fruits.tasks.worker", str(theirs.fileno())],
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
        try:
            self._connection.send_bytes(cloudpickle.dumps((work, item)))
            answer: tuple[Result, Exception | None] = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            self.end()
            raise WorkerDiedError(f"a worker process ended: {_cause(self._process)}") from error
        result, failure = answer
        if failure:
            raise failure
        return result

    def end(self) -> None:
        """Ends the process."""
        # The connection stays open: another thread may still wait for an answer.
        self._process.kill()
        self._process.wait()


def _cause(process: subprocess.Popen[bytes]) -> str:
    """How a process ended: by a signal, or with a status."""
    status = process.returncode
    return signal.Signals(-status).name if status < 0 else f"status {status}"


class _SharedFile(Generic[T]):
    """A value in a file. Pickled, it is the path of the file alone."""

    def __init__(self, path: Path, value: T) -> None:
        self._path = path
        self._own: list[Any] = [value]
        path.write_bytes(cloudpickle.dumps(value))

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_own": []}

    @property
    def value(self) -> T:
        """The value."""
        found: T = self._own[0] if self._own else _read(self._path)
        return found

    def destroy(self) -> None:
        """Deletes the file."""
        with suppress(FileNotFoundError):
            self._path.unlink()


@lru_cache(_SHARED)
def _read(path: Path) -> Any:
    return pickle.loads(path.read_bytes())
