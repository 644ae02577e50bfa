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
from pyspark import Accumulator
from pyspark.core.broadcast import Broadcast
from pyspark.sql import SparkSession

from fruits.features.digests import DigestFile, Digests
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
from fruits.sources.parts import Parts
from fruits.sources.spread import Spread
from fruits.spark import commits
from fruits.spark.commits import Commits, Outcome, Outcomes, with_reasons
from fruits.spark.copies import Copies
from fruits.spark.failures import DIED, SparkError
from fruits.spark.tasks import MOST_IMAGES, run_tasks, task_ranges

# Yields the contents of some items: :meth:`fruits.sources.source.Source.contents`.
Contents = Callable[[pa.Table], Iterator[bytes | OSError]]


# The contents that are committed already.
Known = Digests | DigestFile


# The backbone, and what is known.
Shared = Broadcast[tuple[CompiledGraph, Known]]


Featurize = Callable[[Iterable[bytes | Exception], CompiledGraph, Keep], Iterator[Result]]


# What a task makes of an image; its thumbnail is written into a file of its own.
ROWS = FEATURES.append(pa.field("thumbnail", pa.binary()))


@dataclass(frozen=True)
class Extraction:
    """What an extraction came to; all other files were copied.

    Attributes:
        extracted: files that went through the CNN and have features.
        rejected: files that yielded none and why, :data:`fruits.features.rows.REJECTED`, in the
            parts of the files.
    """

    extracted: int
    rejected: Parts


def extract(
    spark: SparkSession,
    files: Parts,
    known: Known,
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
        files: what to extract, rows of :data:`fruits.sources.listing.LISTING`.
        known: the contents that are committed already, see `fruits.spark.known.known_digests`.
        graph: the backbone.
        store: the committed features, to which these are added.
        chunk: files committed at a time, at most.
        progress: called now and then with the number of files that are done.
        contents: reads items of the source that they come from; by default, files.
    """
    shared = spark.sparkContext.broadcast((graph, known))
    rejected, copies = Spread(REJECTED, files.bounds), Copies(store)
    total, start = Outcome(), 0
    for part in files.chunks(chunk):

        def advance(done: int, before: int = start) -> None:
            progress(before + done)

        chunk_commits = Commits(spark, store, part, advance)
        _extract_chunk(spark, part, shared, store, contents, chunk_commits, most_images(total))
        chunk_commits.commit()
        done = chunk_commits.total
        rejected.add(with_reasons(part, done.rejected))
        copies.add(part, done.copies)
        start += part.num_rows
        total = Outcome(done=[range(start)], seconds=total.seconds + done.seconds)
    shared.destroy()
    copies.commit(spark)
    without = rejected.parts()
    return Extraction(files.num_rows - without.num_rows - copies.count, without)


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
    known: Known,
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
                if digest.digest() in known:
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
