"""Extraction on Spark: the images of a listing -> rows of features, committed chunk by chunk.

An image is read, decoded and run through the CNN inside one Python worker, which also writes the
rows: only the names of files go back to the driver. Each chunk is one Spark job and then one
commit, so a broken run loses one at most.
"""

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import Accumulator
from pyspark.core.broadcast import Broadcast
from pyspark.sql import SparkSession

from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.writer import FeatureWriter
from fruits.networks.graph import CompiledGraph
from fruits.networks.isolation import featurize_in_subprocess
from fruits.networks.runtime import featurize, what_ran
from fruits.sources.folder import contents_of
from fruits.sources.limited import watch
from fruits.sources.listing import LISTING
from fruits.spark.failures import DIED, SparkError
from fruits.spark.measure import read_table
from fruits.spark.tasks import described, run_tasks, task_ranges

# Yields the contents of some items: :meth:`fruits.sources.source.Source.contents`.
Contents = Callable[[pa.Table], Iterator[bytes | OSError]]


# The backbone, and the digests of what is committed already.
Shared = Broadcast[tuple[CompiledGraph, NDArray[np.uint64]]]


Featurize = Callable[
    [Iterable[bytes | Exception], CompiledGraph], Iterator[NDArray[np.float32] | str]
]


@dataclass(frozen=True)
class Extraction:
    """What an extraction came to; all other files were copied.

    Attributes:
        extracted: files that went through the CNN and have features.
        rejected: files that yielded none and why, a table of :data:`fruits.features.rows.REJECTED`.
    """

    extracted: int
    rejected: pa.Table


def extract(
    spark: SparkSession,
    files: pa.Table,
    known: pa.Table,
    graph: CompiledGraph,
    store: FeatureWriter,
    chunk: int,
    progress: Callable[[int], object] = lambda done: None,
    contents: Contents = contents_of,
) -> Extraction:
    """Extracts the features of files and commits them, chunk by chunk.

    A file whose content is committed already, under another name, costs no CNN: its features are
    copied.

    Args:
        spark: the session.
        files: what to extract, a table of :data:`fruits.sources.listing.LISTING`.
        known: what is committed already, from :meth:`fruits.spark.measure.known`.
        graph: the backbone.
        store: the committed features, to which these are added.
        chunk: files committed at a time.
        progress: called now and then with the number of files that are done.
        contents: reads items of the source that they come from; by default, files.
    """
    shared = spark.sparkContext.broadcast((graph, np.sort(_numbers(known["digest"]))))
    total = Outcome()
    for start in range(0, files.num_rows, chunk):
        part = files.slice(start, chunk).combine_chunks()
        done = spark.sparkContext.accumulator(0)
        with _watched(done, start, progress):
            outcome = _extract_safely(spark, part, shared, store, done, contents)
        store.commit(outcome.files, _with_reasons(part, outcome.rejected), outcome.ran)
        total = total.plus(outcome)
    shared.destroy()
    if total.copies:
        _copy(spark, files, total.copies, store)
    extracted = files.num_rows - len(total.rejected) - len(total.copies)
    return Extraction(extracted, _with_reasons(files, total.rejected))


@dataclass
class Outcome:
    """What a task has made of its images.

    Attributes:
        files: names of the files that hold the rows, in their order.
        rejected: by path, the reason why there are no features.
        copies: by path, the SHA-256 under which there are features already.
        ran: what computed the features, from :func:`fruits.networks.runtime.what_ran`.
    """

    files: list[str] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    ran: frozenset[str] = frozenset()

    def plus(self, other: "Outcome") -> "Outcome":
        """Both together."""
        return Outcome(
            self.files + other.files,
            self.rejected | other.rejected,
            self.copies | other.copies,
            self.ran | other.ran,
        )


def _extract_safely(
    spark: SparkSession,
    files: pa.Table,
    shared: Shared,
    store: FeatureWriter,
    done: Accumulator[int],
    contents: Contents,
) -> Outcome:
    """Writes the rows of one chunk; if a worker dies of it, once more with each image apart."""
    try:
        return _extract(spark, files, shared, store, featurize, done, contents)
    except SparkError as error:
        if DIED not in str(error):
            raise
        store.sweep()
        done.value = 0
        return _extract(spark, files, shared, store, featurize_in_subprocess, done, contents)


def _extract(
    spark: SparkSession,
    files: pa.Table,
    shared: Shared,
    store: FeatureWriter,
    featurize: Featurize,
    done: Accumulator[int],
    contents: Contents,
) -> Outcome:
    """Writes the rows of one chunk, as one Spark job."""
    context = spark.sparkContext
    listing = context.broadcast(files)
    # A task that is repeated writes the same rows to the same file.
    job, staged = uuid.uuid4().hex, store.staged

    def work(span: range) -> Outcome:
        watch()
        chosen = listing.value.slice(span.start, len(span))
        rows, outcome = _rows(chosen, *shared.value, contents, featurize)
        if rows.num_rows:
            name = f"{job}-{span.start:09}.parquet"
            write_rows(f"{staged}/{name}", rows)
            outcome.files.append(name)
        done.add(len(span))
        return outcome

    spans = task_ranges(files.num_rows, context.defaultParallelism)
    outcomes = run_tasks(spark, work, spans, f"extract: {files.num_rows:,} images")
    listing.destroy()
    return reduce(Outcome.plus, outcomes)


def _rows(
    files: pa.Table,
    graph: CompiledGraph,
    known: NDArray[np.uint64],
    read: Contents,
    featurize: Featurize,
) -> tuple[pa.Table, Outcome]:
    """The rows of :data:`FEATURES` that files yield, and what became of the others."""
    paths = files["path"].to_pylist()
    outcome = Outcome()
    # Of each content that goes through the CNN: its place among the files, and its digest.
    places: list[int] = []
    digests: list[str] = []
    # Files with the content of one before them, and that one's number among the contents.
    twins: list[tuple[int, int]] = []
    first: dict[str, int] = {}

    def contents() -> Iterator[bytes | OSError]:
        for place, content in enumerate(read(files)):
            digest = hashlib.sha256(content if isinstance(content, bytes) else b"")
            name = digest.hexdigest()
            if isinstance(content, bytes):
                if len(known) and _is_among(digest.digest(), known):
                    outcome.copies[paths[place]] = name
                    continue
                if name in first:
                    twins.append((place, first[name]))
                    continue
                first[name] = len(places)
            places.append(place)
            digests.append(name)
            yield content

    made = list(featurize(contents(), graph))
    results = list(zip(places, digests, made, strict=True))
    results += [(place, digests[number], made[number]) for place, number in twins]
    good: list[tuple[int, str, NDArray[np.float32]]] = []
    for place, name, result in sorted(results, key=lambda one: one[0]):
        if isinstance(result, str):
            outcome.rejected[paths[place]] = result
        else:
            good.append((place, name, result))
    if not good:
        return FEATURES.empty_table(), outcome
    outcome.ran = frozenset([what_ran(graph)])
    found = files.take([place for place, _, _ in good])
    columns = {
        **{name: found[name] for name in LISTING.names},
        "sha256": [name for _, name, _ in good],
        "features": lists(np.stack([features for _, _, features in good])),
    }
    return pa.table(columns).select(FEATURES.names).cast(FEATURES), outcome


def _copy(
    spark: SparkSession, files: pa.Table, copies: dict[str, str], store: FeatureWriter
) -> None:
    """Commits rows for files whose contents are committed under other names."""
    chosen = files.filter(pc.is_in(files["path"], pa.array(list(copies))))
    digests = pa.array([copies[path] for path in chosen["path"].to_pylist()])
    named = spark.createDataFrame(chosen.append_column("sha256", digests))
    there = read_table(spark, store).select("sha256", "features").dropDuplicates(["sha256"])
    rows = named.join(there, "sha256").select(FEATURES.names).orderBy("path")
    staged = store.staged

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        table = pa.Table.from_batches(batches, FEATURES)
        if table.num_rows:
            name = f"{uuid.uuid4().hex}.parquet"
            write_rows(f"{staged}/{name}", table)
            yield pa.record_batch({"first": table["path"][:1].combine_chunks(), "file": [name]})

    with described(spark, f"extract: {len(copies):,} copies of known images"):
        written = rows.mapInArrow(write, "first string, file string").toArrow().sort_by("first")
    store.commit(written["file"].to_pylist(), REJECTED.empty_table())


def _numbers(digests: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first eight bytes of digests as numbers: a broadcast of 8 bytes for each image."""
    return np.frombuffer(b"".join(digests.to_pylist()), ">u8").astype(np.uint64)


def _is_among(digest: bytes, known: NDArray[np.uint64]) -> bool:
    number = np.uint64(int.from_bytes(digest[:8]))
    place = int(np.searchsorted(known, number))
    return place < len(known) and bool(known[place] == number)


def _with_reasons(files: pa.Table, reasons: dict[str, str]) -> pa.Table:
    chosen = files.filter(pc.is_in(files["path"], pa.array(list(reasons), pa.string())))
    errors = pa.array([reasons[path] for path in chosen["path"].to_pylist()], pa.string())
    return chosen.append_column("error", errors).cast(REJECTED)


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
