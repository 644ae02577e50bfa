"""Runs one Spark task for each item of a list, and divides images into tasks.

The tasks run in the same Python workers as functions on Arrow batches. These start once and keep
their loaded networks, while tasks of an RDD would start workers of their own.
"""

import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

import pyarrow as pa
from pyspark.sql import SparkSession

Item = TypeVar("Item")


Result = TypeVar("Result")


# The local property with the description of a job in Spark's UI.
DESCRIPTION = "spark.job.description"


# Images of a task: many, so that its start (50 ms of a Python worker) does not matter; but few at
# the end of a chunk, so that no core waits long for the last task.
MOST_IMAGES = 512


FEWEST_IMAGES = 64


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


def run_tasks(
    spark: SparkSession,
    work: Callable[[Item], Result],
    items: Sequence[Item],
    description: str,
) -> list[Result]:
    """Calls ``work`` for each item in a task, and returns the results in order.

    Args:
        spark: The session.
        work: The function to call in a Python worker. Its errors fail the job.
        items: The items.
        description: The description of the job in Spark's UI, such as ``"extract: 512 images"``.
    """
    if not items:
        return []
    shared = spark.sparkContext.broadcast(items)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in (n for batch in batches for n in batch["id"].to_pylist()):
            result = pickle.dumps(work(shared.value[number]))
            yield pa.record_batch({"id": [number], "result": [result]})

    numbers = spark.range(0, len(items), 1, len(items))
    with described(spark, description):
        rows = numbers.mapInArrow(run, "id long, result binary").toArrow().sort_by("id")
    shared.destroy()
    return [pickle.loads(result) for result in rows["result"].to_pylist()]


def task_ranges(images: int, slots: int, most: int = MOST_IMAGES) -> list[range]:
    """The range of images of each task: long ranges first, shorter ones at the end of a chunk.

    This is the "guided self-scheduling" of Polychronopoulos and Kuck, IEEE Transactions on
    Computers 36 (1987), pp. 1425-1439, with half of its shares, since tasks do not start all at
    the same time.

    Args:
        images: The number of images of the chunk.
        slots: The number of tasks that run at a time.
        most: The maximum number of images of a task.
    """
    found: list[range] = []
    start = 0
    fewest = min(FEWEST_IMAGES, math.ceil(images / slots))
    while start < images:
        share = math.ceil((images - start) / (2 * slots))
        stop = min(images, start + min(max(share, fewest), most))
        found.append(range(start, stop))
        start = stop
    return found
