"""Extraction on Spark: the images of a listing -> rows of features, committed chunk by chunk.

An image is read, decoded and run through the CNN inside one Python worker; only its features leave
it. Each chunk is one Spark job that appends to a Parquet table, so a broken run loses one at most.
"""

import hashlib
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Accumulator, AccumulatorParam
from pyspark.core.broadcast import Broadcast
from pyspark.sql import SparkSession

from fruits.engines import CompiledGraph, featurize
from fruits.images import LISTING, read_contents
from fruits.reduction import _lists as lists

FEATURES = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("sha256", pa.string()),
        ("length", pa.int64()),
        ("modified", pa.timestamp("us", tz="UTC")),
        ("features", pa.list_(pa.float32())),
    ]
)
REJECTED = pa.schema([("path", pa.string()), ("label", pa.string()), ("error", pa.string())])

FEATURES_DDL = (
    "path string, label string, sha256 string, length long, modified timestamp, "
    "features array<float>"
)

# Large enough that a task's start vanishes beside it, small enough to spread over the cores.
IMAGES_PER_PARTITION = 256
# Rows that travel from the Python worker to the JVM at once: 0.5 MB of 2,048 features.
ROWS_PER_BATCH = 64


def extract(
    spark: SparkSession,
    files: pa.Table,
    graph: CompiledGraph,
    output: str,
    chunk: int,
    progress: Callable[[int], object] = lambda done: None,
) -> pa.Table:
    """Extracts the features of files and appends them to a Parquet table.

    Args:
        spark: the session.
        files: what to extract, a table of :data:`fruits.images.LISTING`.
        graph: the backbone.
        output: URI of the Parquet table of :data:`FEATURES`, as Hadoop writes it.
        chunk: files committed at a time.
        progress: told now and then how many files are done.

    Returns:
        The files that yielded no features and why, a table of :data:`REJECTED`.
    """
    shared_graph = spark.sparkContext.broadcast(graph)
    rejected = [REJECTED.empty_table()]
    for start in range(0, files.num_rows, chunk):
        part = files.slice(start, chunk)
        done = spark.sparkContext.accumulator(0)
        with _watched(done, start, progress):
            rejected.append(_commit(spark, part, shared_graph, output, done))
    shared_graph.destroy()
    return pa.concat_tables(rejected)


def _commit(
    spark: SparkSession,
    files: pa.Table,
    graph: Broadcast[CompiledGraph],
    output: str,
    done: Accumulator[int],
) -> pa.Table:
    """One chunk as one Spark job; the rejected files come back through an accumulator."""
    listing = spark.sparkContext.broadcast(files.combine_chunks())
    errors = spark.sparkContext.accumulator({}, _Union())

    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numbers = pa.chunked_array([batch["id"] for batch in batches], pa.int64())
        chosen = listing.value.take(numbers)
        yield from _extracted(chosen, graph.value, errors)
        done.add(chosen.num_rows)

    partitions = _partitions(files.num_rows, spark.sparkContext.defaultParallelism)
    # Row numbers travel to the tasks, and the listing by broadcast: nothing is shuffled.
    numbers = spark.range(0, files.num_rows, 1, partitions)
    numbers.mapInArrow(rows, FEATURES_DDL).write.mode("append").parquet(output)
    listing.destroy()
    return _with_reasons(files, errors.value)


def _extracted(
    files: pa.Table, graph: CompiledGraph, errors: Accumulator[dict[str, str]]
) -> Iterator[pa.RecordBatch]:
    """The rows of :data:`FEATURES` that files yield; the reasons of the others go to ``errors``."""
    digests: list[str] = []

    def contents() -> Iterator[bytes | OSError]:
        paths = zip(files["path"].to_pylist(), files["length"].to_pylist(), strict=True)
        for content in read_contents(paths):
            known = content if isinstance(content, bytes) else b""
            digests.append(hashlib.sha256(known).hexdigest())
            yield content

    results = enumerate(featurize(contents(), graph))
    while group := list(islice(results, ROWS_PER_BATCH)):
        errors.add({files["path"][n].as_py(): r for n, r in group if isinstance(r, str)})
        good = [(n, r) for n, r in group if not isinstance(r, str)]
        if good:
            found = files.take([n for n, _ in good])
            columns = {
                **{name: found[name] for name in LISTING.names},
                "sha256": [digests[n] for n, _ in good],
                "features": lists(np.stack([r for _, r in good])),
            }
            yield from pa.table(columns).select(FEATURES.names).cast(FEATURES).to_batches()


def _partitions(images: int, slots: int) -> int:
    """As many as give each a few hundred images, in whole rounds of the cores."""
    rounds = math.ceil(images / IMAGES_PER_PARTITION / slots)
    return min(images, rounds * slots)


def _with_reasons(files: pa.Table, reasons: dict[str, str]) -> pa.Table:
    chosen = files.filter(pc.is_in(files["path"], pa.array(reasons, pa.string())))
    errors = pa.array([reasons[path] for path in chosen["path"].to_pylist()], pa.string())
    return chosen.select(["path", "label"]).append_column("error", errors)


class _Union(AccumulatorParam[dict[str, str]]):
    """Dictionaries that add up: what is reported twice by a task that was repeated counts once."""

    def zero(self, value: dict[str, str]) -> dict[str, str]:
        return {}

    def addInPlace(self, one: dict[str, str], other: dict[str, str]) -> dict[str, str]:  # noqa: N802
        one.update(other)
        return one


@contextmanager
def _watched(
    done: Accumulator[int], before: int, progress: Callable[[int], object]
) -> Iterator[None]:
    """Tells how many files are done each time there are more, while the job runs that counts."""
    finished = threading.Event()

    def watch() -> None:
        told = 0
        while not finished.wait(0.5):
            if done.value > told:
                told = done.value
                progress(before + told)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
    progress(before + done.value)
