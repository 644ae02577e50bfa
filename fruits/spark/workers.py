"""Runs tasks in the Python workers of a Spark session.

The tasks run in the same Python workers as functions on Arrow batches. These start once and keep
their loaded networks, while tasks of an RDD would start workers of their own.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pyarrow as pa
from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import AccumulatorParam, SparkFiles
from pyspark.sql import SparkSession

from fruits.spark.failures import DIED, SparkError
from fruits.tasks.workers import Item, Result, Shared, T, WorkerDiedError

# The local property with the description of a job in Spark's UI.
DESCRIPTION = "spark.job.description"


class SparkWorkers:
    """The Python workers of a Spark session: see :class:`fruits.tasks.workers.Workers`.

    Args:
        session: The session.

    Attributes:
        session: The session.
    """

    def __init__(self, session: SparkSession) -> None:
        self.session = session

    @property
    def slots(self) -> int:
        """The number of tasks that run at a time."""
        return self.session.sparkContext.defaultParallelism

    @property
    def scratch(self) -> Callable[[], str]:
        """A folder that Spark deletes at the end of the application, on each machine."""
        return SparkFiles.getRootDirectory

    @contextmanager
    def share(self, value: T) -> Iterator[Shared[T]]:
        """Broadcasts a value. PySpark deletes its file only if it is destroyed."""
        shared = self.session.sparkContext.broadcast(value)
        try:
            yield shared
        finally:
            try:
                shared.destroy()
            except (Py4JError, ConnectionError) as error:
                # If Java has ended, it has nothing to free, and the error of a job says so.
                if isinstance(error, Py4JJavaError):
                    raise

    def run(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        description: str,
        ended: list[Result] | None = None,
    ) -> list[Result]:
        """Runs one Spark job with a task for each item."""
        if not items:
            return []
        context = self.session.sparkContext
        finished = None if ended is None else context.accumulator(ended, _Results())
        numbers = self.session.range(0, len(items), 1, len(items))
        with self.share(items) as shared, described(self.session, description):

            def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
                for number in (n for batch in batches for n in batch["id"].to_pylist()):
                    result = work(shared.value[number])
                    if finished is not None:
                        finished.add([result])
                    yield pa.record_batch({"id": [number], "result": [pickle.dumps(result)]})

            try:
                rows = numbers.mapInArrow(run, "id long, result binary").toArrow().sort_by("id")
            except SparkError as error:
                if DIED in str(error):
                    raise WorkerDiedError(str(error)) from error
                raise
            finally:
                if finished is not None:
                    finished.value = []  # PySpark never frees accumulators.
        return [pickle.loads(result) for result in rows["result"].to_pylist()]

    @contextmanager
    def cancellable(self) -> Iterator[Callable[[], None]]:
        """A function that cancels the enclosed jobs."""
        context, tag = self.session.sparkContext, f"fruits-{uuid.uuid4().hex}"
        context.addJobTag(tag)
        try:
            yield lambda: context.cancelJobsWithTag(tag)
        finally:
            # It raises an error if Java has ended.
            context.removeJobTag(tag)


class _Results(AccumulatorParam[list[Any]]):
    """Brings the result of each task to the driver as soon as the task has ended."""

    def zero(self, value: list[Any]) -> list[Any]:
        return []

    def addInPlace(self, value1: list[Any], value2: list[Any]) -> list[Any]:  # noqa: N802
        value1 += value2
        return value1


@contextmanager
def described(spark: SparkSession, description: str) -> Iterator[None]:
    """Describes the jobs of this thread in Spark's UI, within a ``with`` statement."""
    context = spark.sparkContext
    before = context.getLocalProperty(DESCRIPTION)
    context.setLocalProperty(DESCRIPTION, description)
    try:
        yield
    finally:
        # None deletes the property, but PySpark's annotation does not allow it.
        context.setLocalProperty(DESCRIPTION, cast(str, before))
