"""Commits the results of finished tasks while other tasks of the job still run.

So a run that is aborted loses at most a minute of work on any machine, and no core waits for a
commit. All commits of a chunk share one manifest; each commit writes a longer one instead.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.rows import REJECTED
from fruits.features.table import Chunk
from fruits.features.writer import FeatureWriter
from fruits.tasks.workers import Workers

# Seconds between two commits.
COMMIT_SECONDS = 40.0


# A task starts no further image after this many seconds, so less than a minute passes between an
# image and its commit. The start of a task takes 50 ms, 0.3 % of it.
TASK_SECONDS = 15.0


# Seconds between two checks for finished tasks.
POLL_SECONDS = 0.5


@dataclass
class Outcome:
    """The results of one or more tasks.

    Attributes:
        files: The names of the staged files with the rows.
        rejected: The reasons for images without features, by path.
        copies: The SHA-256 of images whose content already has features, by path.
        ran: The engines and instruction sets of the tasks, from
            :func:`fruits.networks.runtime.what_ran`.
        done: The ranges of the job's images that are finished.
        seconds: The sum of the seconds of the tasks.
    """

    files: list[str] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    ran: frozenset[str] = frozenset()
    done: list[range] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def images(self) -> int:
        """The number of finished images."""
        return sum(map(len, self.done))

    def add(self, other: "Outcome") -> None:
        """Adds the results of other tasks."""
        self.files += other.files
        self.rejected |= other.rejected
        self.copies |= other.copies
        self.ran |= other.ran
        self.done += other.done
        self.seconds += other.seconds


class Commits:
    """The commits of one chunk.

    Args:
        workers: The workers.
        store: The features.
        files: The files of the chunk, a table of :data:`fruits.sources.listing.LISTING`.
        progress: Called with the number of finished files of the chunk, from time to time.

    Attributes:
        total: All finished results, committed or not.
    """

    def __init__(
        self,
        workers: Workers,
        store: FeatureWriter,
        files: pa.Table,
        progress: Callable[[int], object],
    ) -> None:
        self.total = Outcome()
        self._workers = workers
        self._store = store
        self._files = files
        self._progress = progress
        self._chunk: Chunk | None = None
        self._waiting = Outcome()
        self._last = time.monotonic()

    @contextmanager
    def during(self, outcomes: list[Outcome]) -> Iterator[None]:
        """Commits the results of the enclosed job while it runs; a failed commit ends the job.

        Args:
            outcomes: The list to which the job adds the outcome of each task as soon as it
                has ended.
        """
        ended = threading.Event()
        failures: list[Exception] = []
        seen = 0

        def collect() -> None:
            nonlocal seen
            fresh = outcomes[seen:]
            seen += len(fresh)
            for outcome in fresh:
                self.total.add(outcome)
                self._waiting.add(outcome)
            if fresh:
                self._progress(self.total.images)

        def watch(cancel: Callable[[], None]) -> None:
            try:
                while not ended.wait(POLL_SECONDS):
                    collect()
                    if time.monotonic() - self._last >= COMMIT_SECONDS and self._waiting.done:
                        self.commit()
            except Exception as error:
                failures.append(error)
                cancel()

        try:
            with self._workers.cancellable() as cancel:
                thread = threading.Thread(target=watch, args=[cancel], daemon=True)
                thread.start()
                try:
                    yield
                finally:
                    ended.set()
                    thread.join()
                    collect()
        except Exception as error:
            if failures:
                raise failures[0] from error
            raise
        if failures:
            raise failures[0]

    def commit(self) -> None:
        """Commits the finished results that are not committed yet."""
        rejected = with_reasons(self._files, self._waiting.rejected)
        self._chunk = self._store.commit(
            self._waiting.files, rejected, self._waiting.ran, self._chunk
        )
        self._waiting = Outcome()
        self._last = time.monotonic()


def with_reasons(files: pa.Table, reasons: dict[str, str]) -> pa.Table:
    """The rejected files with their reasons, a table of :data:`fruits.features.rows.REJECTED`."""
    chosen = files.filter(pc.is_in(files["path"], pa.array(list(reasons), pa.string())))
    errors = pa.array([reasons[path] for path in chosen["path"].to_pylist()], pa.string())
    return chosen.append_column("error", errors).select(REJECTED.names).cast(REJECTED)
