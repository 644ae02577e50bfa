"""Extraction on Spark: the images of a listing -> rows of features, committed chunk by chunk.

An image is read, decoded and run through the CNN inside one Python worker; only its features leave
it. Each chunk is one Spark job and then one commit, so a broken run loses one at most.
"""

import hashlib
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import Accumulator, AccumulatorParam
from pyspark.core.broadcast import Broadcast
from pyspark.sql import SparkSession

from fruits.chunks import REJECTED, ChunkStore
from fruits.engines import CompiledGraph, featurize
from fruits.faults import DIED, SparkError
from fruits.images import LISTING, read_contents
from fruits.isolation import featurize_apart
from fruits.moments import lists

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
# The backbone, and the digests of what is committed already.
Shared = Broadcast[tuple[CompiledGraph, NDArray[np.uint64]]]
Featurize = Callable[
    [Iterable[bytes | Exception], CompiledGraph], Iterator[NDArray[np.float32] | str]
]

FEATURES_DDL = (
    "path string, label string, sha256 string, length long, modified timestamp, "
    "features array<float>"
)

# Large enough that a task's start vanishes beside it, small enough to spread over the cores.
IMAGES_PER_PARTITION = 256
# Rows that travel from the Python worker to the JVM at once: 0.5 MB of 2,048 features.
ROWS_PER_BATCH = 64


@dataclass(frozen=True)
class Extraction:
    """What an extraction came to; all other files were copied.

    Attributes:
        extracted: files that went through the CNN and have features.
        rejected: files that yielded none and why, a table of :data:`fruits.chunks.REJECTED`.
    """

    extracted: int
    rejected: pa.Table


def extract(
    spark: SparkSession,
    files: pa.Table,
    known: pa.Table,
    graph: CompiledGraph,
    store: ChunkStore,
    chunk: int,
    progress: Callable[[int], object] = lambda done: None,
) -> Extraction:
    """Extracts the features of files and commits them, chunk by chunk.

    A file whose content is committed already, under another name, costs no CNN: its features are
    copied.

    Args:
        spark: the session.
        files: what to extract, a table of :data:`fruits.images.LISTING`.
        known: what is committed already, from :meth:`fruits.chunks.ChunkStore.known`.
        graph: the backbone.
        store: the committed features, to which these are added.
        chunk: files committed at a time.
        progress: told now and then how many files are done.
    """
    shared = spark.sparkContext.broadcast((graph, np.sort(_numbers(known["digest"]))))
    total = Outcome()
    for start in range(0, files.num_rows, chunk):
        part = files.slice(start, chunk).combine_chunks()
        done = spark.sparkContext.accumulator(0)
        outcome = spark.sparkContext.accumulator(Outcome(), _Outcomes())
        with _watched(done, start, progress):
            _write_safely(spark, part, shared, store, outcome, done)
        store.commit(_with_reasons(part, outcome.value.rejected))
        total = total.plus(outcome.value)
    shared.destroy()
    if total.copies:
        _copy(spark, files, total.copies, store)
    extracted = files.num_rows - len(total.rejected) - len(total.copies)
    return Extraction(extracted, _with_reasons(files, total.rejected))


@dataclass
class Outcome:
    """What became of the images that are not among the written rows, by path.

    Attributes:
        rejected: the reason why there are no features.
        copies: the SHA-256 under which there are features already.
    """

    rejected: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)

    def plus(self, other: "Outcome") -> "Outcome":
        """Both together; what is told twice, by a task that was repeated, counts once."""
        return Outcome(self.rejected | other.rejected, self.copies | other.copies)


class _Outcomes(AccumulatorParam[Outcome]):
    def zero(self, value: Outcome) -> Outcome:
        return Outcome()

    def addInPlace(self, one: Outcome, other: Outcome) -> Outcome:  # noqa: N802
        return one.plus(other)


def _write_safely(
    spark: SparkSession,
    files: pa.Table,
    shared: Shared,
    store: ChunkStore,
    outcome: Accumulator[Outcome],
    done: Accumulator[int],
) -> None:
    """Writes the rows of one chunk; if a worker dies of it, once more with each image apart."""
    try:
        _write(spark, files, shared, store.uri, featurize, outcome, done)
    except SparkError as error:
        if DIED not in str(error):
            raise
        store.sweep()
        done.value = 0
        _write(spark, files, shared, store.uri, featurize_apart, outcome, done)


def _write(
    spark: SparkSession,
    files: pa.Table,
    shared: Shared,
    target: str,
    featurize: Featurize,
    outcome: Accumulator[Outcome],
    done: Accumulator[int],
) -> None:
    """Writes the rows of one chunk, as one Spark job."""
    listing = spark.sparkContext.broadcast(files)

    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numbers = pa.chunked_array([batch["id"] for batch in batches], pa.int64())
        chosen = listing.value.take(numbers)
        yield from _rows(chosen, *shared.value, featurize, outcome)
        done.add(chosen.num_rows)

    partitions = _partitions(files.num_rows, spark.sparkContext.defaultParallelism)
    # Row numbers travel to the tasks, and the listing by broadcast: nothing is shuffled.
    numbers = spark.range(0, files.num_rows, 1, partitions)
    numbers.mapInArrow(rows, FEATURES_DDL).write.mode("append").parquet(target)
    listing.destroy()


def _rows(
    files: pa.Table,
    graph: CompiledGraph,
    known: NDArray[np.uint64],
    featurize: Featurize,
    outcome: Accumulator[Outcome],
) -> Iterator[pa.RecordBatch]:
    """The rows of :data:`FEATURES` that files yield; what yields none goes to ``outcome``."""
    paths, lengths = files["path"].to_pylist(), files["length"].to_pylist()
    places: list[int] = []
    digests: list[str] = []

    def contents() -> Iterator[bytes | OSError]:
        for place, content in enumerate(read_contents(zip(paths, lengths, strict=True))):
            digest = hashlib.sha256(content if isinstance(content, bytes) else b"")
            if len(known) and isinstance(content, bytes) and _is_among(digest.digest(), known):
                outcome.add(Outcome(copies={paths[place]: digest.hexdigest()}))
                continue
            places.append(place)
            digests.append(digest.hexdigest())
            yield content

    results = enumerate(featurize(contents(), graph))
    while group := list(islice(results, ROWS_PER_BATCH)):
        reasons = {paths[places[n]]: result for n, result in group if isinstance(result, str)}
        if reasons:
            outcome.add(Outcome(rejected=reasons))
        good = [(n, result) for n, result in group if not isinstance(result, str)]
        if good:
            found = files.take([places[n] for n, _ in good])
            columns = {
                **{name: found[name] for name in LISTING.names},
                "sha256": [digests[n] for n, _ in good],
                "features": lists(np.stack([result for _, result in good])),
            }
            yield from pa.table(columns).select(FEATURES.names).cast(FEATURES).to_batches()


def _copy(spark: SparkSession, files: pa.Table, copies: dict[str, str], store: ChunkStore) -> None:
    """Commits rows for files whose contents are committed under other names."""
    chosen = files.filter(pc.is_in(files["path"], pa.array(list(copies))))
    digests = pa.array([copies[path] for path in chosen["path"].to_pylist()])
    named = spark.createDataFrame(chosen.append_column("sha256", digests))
    there = store.table(spark).select("sha256", "features").dropDuplicates(["sha256"])
    rows = named.join(there, "sha256").select(FEATURES.names)
    rows.write.mode("append").parquet(store.uri)
    store.commit(REJECTED.empty_table())


def _numbers(digests: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first eight bytes of digests as numbers: a broadcast of 8 bytes for each image."""
    return np.frombuffer(b"".join(digests.to_pylist()), ">u8").astype(np.uint64)


def _is_among(digest: bytes, known: NDArray[np.uint64]) -> bool:
    number = np.uint64(int.from_bytes(digest[:8]))
    place = int(np.searchsorted(known, number))
    return place < len(known) and bool(known[place] == number)


def _partitions(images: int, slots: int) -> int:
    """As many as give each a few hundred images, in whole rounds of the cores."""
    rounds = math.ceil(images / IMAGES_PER_PARTITION / slots)
    return min(images, rounds * slots)


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
