"""How images are spread over Spark tasks, and one task for each item of a list.

The tasks run in the same Python workers as functions on Arrow batches do, which are started once
and keep what they have loaded; those of an RDD would be started in addition.
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


# The local property that Spark's pages show as the description of a job.
DESCRIPTION = "spark.job.description"


# Images of a task: so many that its start (50 ms of a Python worker) does not matter, and so
# few at the end of a chunk that no core waits long for the last one.
MOST_IMAGES = 512


FEWEST_IMAGES = 64


@contextmanager
def described(spark: SparkSession, description: str) -> Iterator[None]:
    """Names the jobs of this thread within, as Spark's pages show them; then as it was before."""
    context = spark.sparkContext
    before = context.getLocalProperty(DESCRIPTION)
    context.setLocalProperty(DESCRIPTION, description)
    try:
        yield
    finally:
        # None takes the property away, which the annotation of PySpark does not say.
        context.setLocalProperty(DESCRIPTION, cast(str, before))


def run_tasks(
    spark: SparkSession,
    work: Callable[[Item], Result],
    items: Sequence[Item],
    description: str,
) -> list[Result]:
    """The results of ``work`` for each item, in order; what it raises, the job raises.

    Args:
        spark: the session.
        work: done once for each item, in some Python worker.
        items: what there is to do.
        description: of the job, for Spark's pages, such as ``"extract: 512 images"``.
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
    """The images of each task: long spans first, ever shorter ones at the end of a chunk.

    "Guided self-scheduling" of Polychronopoulos and Kuck, IEEE Transactions on Computers 36
    (1987), pp. 1425-1439, with half of its shares, since tasks do not start all at once.

    Args:
        images: of the chunk.
        slots: tasks that run at a time.
        most: images of a task.
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
