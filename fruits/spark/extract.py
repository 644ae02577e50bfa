"""Extraction on Spark: the images of a listing -> rows of features, committed chunk by chunk.

An image is read, decoded and run through the CNN inside one Python worker, which also writes the
rows: only the names of files go back to the driver. Each chunk is one Spark job, or a few: a task
ends after some seconds, and what it has not come to is left to the next job.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import Accumulator
from pyspark.core.broadcast import Broadcast
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.table import THUMBNAILS, THUMBNAILS_FOLDER
from fruits.features.writer import FeatureWriter
from fruits.networks.graph import CompiledGraph
from fruits.networks.isolation import featurize_in_subprocess
from fruits.networks.objects import Part, Result, featurize, parts_of
from fruits.networks.runtime import Keep, what_ran
from fruits.sources.folder import contents_of
from fruits.sources.limited import watch
from fruits.sources.listing import LISTING
from fruits.spark import commits
from fruits.spark.commits import Commits, Outcome, Outcomes, with_reasons
from fruits.spark.failures import DIED, SparkError
from fruits.spark.measure import read_table
from fruits.spark.tasks import MOST_IMAGES, described, run_tasks, task_ranges

# Yields the contents of some items: :meth:`fruits.sources.source.Source.contents`.
Contents = Callable[[pa.Table], Iterator[bytes | OSError]]


# The backbone, and the digests of what is committed already.
Shared = Broadcast[tuple[CompiledGraph, NDArray[np.uint64]]]


Featurize = Callable[[Iterable[bytes | Exception], CompiledGraph, Keep], Iterator[Result]]


# Letters of a SHA-256.
DIGEST_LENGTH = 64


# What a task makes of an image; its thumbnail is written into a file of its own.
ROWS = FEATURES.append(pa.field("thumbnail", pa.binary()))


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
    """Extracts the features of files and commits them, chunk by chunk and at least once a minute.

    A file whose content is committed already, under another name, costs no CNN: its features are
    copied.

    Args:
        spark: the session.
        files: what to extract, a table of :data:`fruits.sources.listing.LISTING`.
        known: what is committed already, from :meth:`fruits.spark.measure.known`.
        graph: the backbone.
        store: the committed features, to which these are added.
        chunk: files committed at a time, at most.
        progress: called now and then with the number of files that are done.
        contents: reads items of the source that they come from; by default, files.
    """
    shared = spark.sparkContext.broadcast((graph, np.sort(_numbers(known["digest"]))))
    total = Outcome()
    for start in range(0, files.num_rows, chunk):
        part = files.slice(start, chunk).combine_chunks()

        def advance(done: int, before: int = start) -> None:
            progress(before + done)

        chunk_commits = Commits(spark, store, part, advance)
        _extract_chunk(spark, part, shared, store, contents, chunk_commits, most_images(total))
        chunk_commits.commit()
        total.add(chunk_commits.total)
    shared.destroy()
    if total.copies:
        _copy(spark, files, total.copies, store)
    extracted = files.num_rows - len(total.rejected) - len(total.copies)
    return Extraction(extracted, with_reasons(files, total.rejected))


def most_images(done: Outcome) -> int:
    """Images of a task that most likely ends in time, by the speed so far."""
    if not done.images or done.seconds <= 0:
        return MOST_IMAGES
    in_time = done.images / done.seconds * commits.TASK_SECONDS / 2
    return max(1, int(min(MOST_IMAGES, in_time)))


def _extract_chunk(
    spark: SparkSession,
    files: pa.Table,
    shared: Shared,
    store: FeatureWriter,
    contents: Contents,
    chunk: Commits,
    most: int,
) -> None:
    """Writes the rows of one chunk; if a worker dies, the rest of them in subprocesses."""
    how: Featurize = featurize
    while files.num_rows:
        outcomes = spark.sparkContext.accumulator([], Outcomes())
        try:
            with chunk.during(outcomes):
                _extract(spark, files, shared, store, contents, how, most, outcomes)
        except SparkError as error:
            if DIED not in str(error) or how is featurize_in_subprocess:
                raise
            how = featurize_in_subprocess
        left = np.ones(files.num_rows, bool)
        for span in (span for outcome in outcomes.value for span in outcome.done):
            left[span.start : span.stop] = False
        files = files.filter(pa.array(left)).combine_chunks()
        outcomes.value = []  # PySpark keeps accumulators for ever.
        most = most_images(chunk.total)


def _extract(
    spark: SparkSession,
    files: pa.Table,
    shared: Shared,
    store: FeatureWriter,
    contents: Contents,
    featurize: Featurize,
    most: int,
    outcomes: Accumulator[list[Outcome]],
) -> None:
    """Writes the rows of those files that are done in time, as one Spark job."""
    context = spark.sparkContext
    listing = context.broadcast(files)
    job, seconds = uuid.uuid4(), commits.TASK_SECONDS
    staged, thumbnails = store.staged, f"{store.uri}/{THUMBNAILS_FOLDER}"

    def work(span: range) -> None:
        watch()
        began = time.monotonic()
        chosen = listing.value.slice(span.start, len(span))
        rows, outcome = _rows(chosen, *shared.value, contents, featurize, seconds)
        [taken] = outcome.done
        if rows.num_rows:
            # A task that is repeated writes the same rows to the same file. It may come to more
            # images than the first time: those are in another file, which nobody commits.
            name = f"{uuid.uuid5(job, str(len(taken))).hex}-{span.start:09}.parquet"
            # First, so that no committed image is without one.
            write_rows(f"{thumbnails}/{name}", rows.select(THUMBNAILS.names))
            write_rows(f"{staged}/{name}", rows.select(FEATURES.names))
            outcome.files.append(name)
        outcome.done = [range(span.start, span.start + len(taken))]
        outcome.seconds = time.monotonic() - began
        outcomes.add([outcome])

    spans = task_ranges(files.num_rows, context.defaultParallelism, most)
    run_tasks(spark, work, spans, f"extract: {files.num_rows:,} images")
    listing.destroy()


def _rows(
    files: pa.Table,
    graph: CompiledGraph,
    known: NDArray[np.uint64],
    read: Contents,
    featurize: Featurize,
    seconds: float,
) -> tuple[pa.Table, Outcome]:
    """The rows of :data:`ROWS` that files yield, and what became of the others.

    After some seconds no further file is begun, but one is always done: the outcome has one span,
    of those that were done.
    """
    paths = files["path"].to_pylist()
    outcome = Outcome()
    # Of each content that goes through the CNN: its place among the files, and its digest.
    places: list[int] = []
    digests: list[str] = []
    # Files with the content of one before them, and that one's number among the contents.
    twins: list[tuple[int, int]] = []
    first: dict[str, int] = {}

    def contents() -> Iterator[bytes | OSError]:
        ends = time.monotonic() + seconds
        for place, content in enumerate(read(files)):
            if place and time.monotonic() > ends:
                break
            outcome.done = [range(place + 1)]
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

    thumbnails: list[bytes | None] = []
    made = list(featurize(contents(), graph, thumbnails.append))
    # Place among the files, and number among the contents.
    numbers = sorted([*zip(places, range(len(made)), strict=True), *twins])
    good: list[tuple[int, int, Part]] = []
    for place, number in numbers:
        result = made[number]
        if isinstance(result, str):
            outcome.rejected[paths[place]] = result
        else:
            # A box is named by its photograph's path and digest, with the box after them.
            parts = parts_of(result, thumbnails[number])
            good += [(place, number, part) for part in parts]
    if not good:
        return ROWS.empty_table(), outcome
    outcome.ran = frozenset([what_ran(graph)])
    found = files.take([place for place, _, _ in good])
    columns = {
        **{name: found[name] for name in LISTING.names},
        "path": [paths[place] + part.fragment for place, _, part in good],
        "sha256": [digests[number] + part.fragment for _, number, part in good],
        "features": lists(np.stack([part.features for _, _, part in good])),
        "thumbnail": pa.array([part.thumbnail for _, _, part in good], pa.binary()),
    }
    return pa.table(columns).select(ROWS.names).cast(ROWS), outcome


def _copy(
    spark: SparkSession, files: pa.Table, copies: dict[str, str], store: FeatureWriter
) -> None:
    """Commits rows for files whose contents are committed under other names."""
    chosen = files.filter(pc.is_in(files["path"], pa.array(list(copies)))).select(LISTING.names)
    digests = pa.array([copies[path] for path in chosen["path"].to_pylist()])
    named = spark.createDataFrame(chosen.append_column("content", digests))
    there = read_table(spark, store).select("sha256", "features").dropDuplicates(["sha256"])
    # Of a photograph with boxes there are several rows, whose digests and paths name the boxes.
    there = there.withColumn("content", F.substring("sha256", 1, DIGEST_LENGTH))
    box = F.expr(f"substring(sha256, {DIGEST_LENGTH + 1})")
    rows = named.join(there, "content").withColumn("path", F.concat("path", box))
    rows = rows.select(FEATURES.names).orderBy("path")
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
