"""Commits what the tasks of a job have finished while the others still work.

So a run that is broken off loses a minute of work at most, whatever the speed of the machine, and
no core ever waits for a commit: the job continues. All commits of a chunk share one manifest, which
is replaced by a longer one each time.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Accumulator, AccumulatorParam
from pyspark.sql import SparkSession

from fruits.features.rows import REJECTED
from fruits.features.table import Chunk
from fruits.features.writer import FeatureWriter

# What is finished is committed when the last commit was so many seconds ago.
COMMIT_SECONDS = 40.0


# A task takes no further image after so many seconds. Together with the above: less than a minute
# from one commit to the next. The start of a task, 50 ms, is 0.3 % of it.
TASK_SECONDS = 15.0


# Seconds between two looks at what is finished.
LOOK_SECONDS = 0.5


@dataclass
class Outcome:
    """What a task, or several, have made of their images.

    Attributes:
        files: names of the staged files that hold the rows.
        rejected: by path, the reason why there are no features.
        copies: by path, the SHA-256 under which there are features already.
        ran: what computed the features, from :func:`fruits.networks.runtime.what_ran`.
        done: spans of the job's images that are finished.
        seconds: that the tasks have worked, in sum.
    """

    files: list[str] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    ran: frozenset[str] = frozenset()
    done: list[range] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def images(self) -> int:
        """How many images are finished."""
        return sum(map(len, self.done))

    def add(self, other: "Outcome") -> None:
        """Adds what others have made."""
        self.files += other.files
        self.rejected |= other.rejected
        self.copies |= other.copies
        self.ran |= other.ran
        self.done += other.done
        self.seconds += other.seconds


class Outcomes(AccumulatorParam[list[Outcome]]):
    """Brings the outcome of each task to the driver as soon as the task has ended."""

    def zero(self, value: list[Outcome]) -> list[Outcome]:
        """None yet."""
        return []

    def addInPlace(  # noqa: N802 - PySpark's name
        self, value1: list[Outcome], value2: list[Outcome]
    ) -> list[Outcome]:
        """Both."""
        value1 += value2
        return value1


class Commits:
    """The commits of one chunk.

    Args:
        spark: the session.
        store: the features.
        files: of the chunk, a table of :data:`fruits.sources.listing.LISTING`.
        progress: called now and then with the number of files of the chunk that are done.

    Attributes:
        total: what has been finished, committed or not.
    """

    def __init__(
        self,
        spark: SparkSession,
        store: FeatureWriter,
        files: pa.Table,
        progress: Callable[[int], object],
    ) -> None:
        self.total = Outcome()
        self._spark = spark
        self._store = store
        self._files = files
        self._progress = progress
        self._chunk: Chunk | None = None
        self._waiting = Outcome()
        self._last = time.monotonic()

    @contextmanager
    def during(self, outcomes: Accumulator[list[Outcome]]) -> Iterator[None]:
        """Commits in time what the job within finishes; a commit that fails ends the job.

        Args:
            outcomes: to which each task of the job adds its own.
        """
        context = self._spark.sparkContext
        ended = threading.Event()
        failures: list[Exception] = []
        tag, seen = f"fruits-{uuid.uuid4().hex}", 0

        def look() -> None:
            nonlocal seen
            fresh = outcomes.value[seen:]
            seen += len(fresh)
            for outcome in fresh:
                self.total.add(outcome)
                self._waiting.add(outcome)
            if fresh:
                self._progress(self.total.images)

        def watch() -> None:
            try:
                while not ended.wait(LOOK_SECONDS):
                    look()
                    if time.monotonic() - self._last >= COMMIT_SECONDS and self._waiting.done:
                        self.commit()
            except Exception as error:
                failures.append(error)
                context.cancelJobsWithTag(tag)

        thread = threading.Thread(target=watch, daemon=True)
        context.addJobTag(tag)
        thread.start()
        try:
            yield
        except Exception as error:
            if failures:
                raise failures[0] from error
            raise
        finally:
            ended.set()
            thread.join()
            look()
            # Last, since it raises where Java is gone.
            context.removeJobTag(tag)
        if failures:
            raise failures[0]

    def commit(self) -> None:
        """Commits what is finished and not yet committed."""
        rejected = with_reasons(self._files, self._waiting.rejected)
        self._chunk = self._store.commit(
            self._waiting.files, rejected, self._waiting.ran, self._chunk
        )
        self._waiting = Outcome()
        self._last = time.monotonic()


def with_reasons(files: pa.Table, reasons: dict[str, str]) -> pa.Table:
    """Those of the files that were rejected, a table of :data:`fruits.features.rows.REJECTED`."""
    chosen = files.filter(pc.is_in(files["path"], pa.array(list(reasons), pa.string())))
    errors = pa.array([reasons[path] for path in chosen["path"].to_pylist()], pa.string())
    return chosen.append_column("error", errors).select(REJECTED.names).cast(REJECTED)
