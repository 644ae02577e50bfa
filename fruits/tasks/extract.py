"""Extraction: the images of a listing -> rows of features, committed chunk by chunk.

One worker reads an image, decodes it, runs it through the CNN and writes its row; only file names
go back to the driver. A chunk is one or a few jobs: a task ends after some seconds, and the next
job takes the images that are left.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from fruits.features.known_contents import DigestFile, Digests
from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.table import THUMBNAILS, THUMBNAILS_FOLDER
from fruits.features.writer import FeatureWriter
from fruits.images.decode_process import watch
from fruits.networks.graph import CompiledGraph
from fruits.networks.isolation import featurize_in_subprocess
from fruits.networks.objects import FeatureRow, Result, featurize, parts_of
from fruits.networks.runtime import Keep, what_ran
from fruits.sources.listing import LISTING
from fruits.sources.parts import Parts
from fruits.sources.reading import Reader, contents_of
from fruits.sources.spread import Spread
from fruits.tasks import commits
from fruits.tasks.commits import Commits, Outcome, with_reasons
from fruits.tasks.copies import COPIES, commit_copies, with_contents
from fruits.tasks.image_ranges import MOST_IMAGES, image_ranges
from fruits.tasks.known import known_digests
from fruits.tasks.workers import Shared, WorkerDiedError, Workers

# The digests of contents that are committed already.
Known = Digests | DigestFile


Featurize = Callable[[Iterable[bytes | Exception], CompiledGraph, Keep], Iterator[Result]]


SAVE_SHARE = 10
"""The minimum ratio of the time between two commits of copies to the time of a commit."""


# The row of an image; its thumbnail is written to another file than its features.
ROWS = FEATURES.append(pa.field("thumbnail", pa.binary()))


@dataclass(frozen=True)
class Extraction:
    """The result of an extraction. Files that are in neither are copies, whose rows are committed.

    Attributes:
        extracted: The number of files that went through the CNN and have features.
        rejected: The files without features and the reasons, rows of
            :data:`fruits.features.rows.REJECTED`, in the same parts as the files.
    """

    extracted: int
    rejected: Parts


@dataclass(frozen=True, eq=False)
class _Extractor:
    """What the tasks of all chunks have in common."""

    workers: Workers
    shared: Shared[tuple[CompiledGraph, Known]]
    store: FeatureWriter


def extract(
    workers: Workers,
    files: Parts,
    known: Parts,
    graph: CompiledGraph,
    store: FeatureWriter,
    chunk: int,
    progress: Callable[[int], object] = lambda done: None,
) -> Extraction:
    """Extracts the features of files and commits them, chunk by chunk and at least once a minute.

    A file whose content already has features under another name is a copy, and gets these features.
    Copies are committed after a chunk, about once a minute, or less often if it is slow.

    Args:
        workers: The workers.
        files: The files to extract, rows of :data:`fruits.sources.listing.LISTING`.
        known: The committed rows, see :func:`fruits.tasks.known.known_parts`.
        graph: The backbone.
        store: The committed features, to which the new ones are added.
        chunk: The maximum number of files in a chunk.
        progress: Called with the number of finished files, from time to time.
    """
    rejected, copies = Spread(REJECTED, files.bounds), Spread(COPIES, files.bounds)
    total, start, copied, due = Outcome(), 0, 0, time.monotonic() + commits.COMMIT_SECONDS
    with (
        known_digests(workers, store, known) as digests,
        workers.share((graph, digests)) as shared,
    ):
        extractor = _Extractor(workers, shared, store)
        # From part to part, chunks follow the order of the paths, by which the tables of results
        # are merged. In a part, they follow archives, so that a task reads its images with few
        # requests.
        for part in files.in_file_order().chunks(chunk):

            def advance(done: int, before: int = start) -> None:
                progress(before + done)

            chunk_commits = Commits(workers, store, part, advance)
            _extract_chunk(extractor, part, chunk_commits, most_images(total))
            chunk_commits.commit()
            done = chunk_commits.total
            rejected.add(with_reasons(part, done.rejected))
            copies.add(with_contents(part, done.copies))
            start += part.num_rows
            began = time.monotonic()
            if began >= due or start == files.num_rows:
                if (found := copies.parts()).num_rows:
                    commit_copies(workers, store, found, known)
                copied, copies = copied + found.num_rows, Spread(COPIES, files.bounds)
                # Each time, it reads the digests of all known contents.
                taken = time.monotonic() - began
                due = began + taken + max(commits.COMMIT_SECONDS, SAVE_SHARE * taken)
            total = Outcome(done=[range(start)], seconds=total.seconds + done.seconds)
    without = rejected.parts()
    return Extraction(files.num_rows - without.num_rows - copied, without)


def most_images(done: Outcome) -> int:
    """The number of images that a task most likely finishes in time, by the speed so far."""
    if not done.images or done.seconds <= 0:
        return MOST_IMAGES
    in_time = done.images / done.seconds * commits.TASK_SECONDS / 2
    return max(1, int(min(MOST_IMAGES, in_time)))


def _extract_chunk(extractor: _Extractor, files: pa.Table, chunk: Commits, most: int) -> None:
    """Writes the rows of one chunk; after a crash of a worker, it uses subprocesses."""
    how: Featurize = featurize
    while files.num_rows:
        outcomes: list[Outcome] = []
        try:
            with chunk.during(outcomes):
                _extract(extractor, files, how, most, outcomes)
        except WorkerDiedError:
            if how is featurize_in_subprocess:
                raise
            how = featurize_in_subprocess
        left = np.ones(files.num_rows, bool)
        for span in (span for outcome in outcomes for span in outcome.done):
            left[span.start : span.stop] = False
        files = files.filter(pa.array(left)).combine_chunks()
        most = most_images(chunk.total)


def _extract(
    extractor: _Extractor, files: pa.Table, how: Featurize, most: int, outcomes: list[Outcome]
) -> None:
    """Writes the rows of the files that are done in time, by one job."""
    # Tasks must not get the workers and the store.
    job, seconds, read = uuid.uuid4(), commits.TASK_SECONDS, contents_of
    workers, shared, store = extractor.workers, extractor.shared, extractor.store
    staged, thumbnails = store.staged, store.root / THUMBNAILS_FOLDER
    with workers.share(files) as listing:

        def work(span: range) -> Outcome:
            watch()
            began = time.monotonic()
            chosen = listing.value.slice(span.start, len(span))
            rows, outcome = _rows(chosen, *shared.value, read, how, seconds)
            [taken] = outcome.done
            if rows.num_rows:
                # A repeated task writes the same rows to the same file. If it finishes another
                # number of images, the name is another one too, and only one of the files is
                # committed.
                name = f"{uuid.uuid5(job, str(len(taken))).hex}-{span.start:09}.parquet"
                # Thumbnails first, so that every committed image has one.
                write_rows(thumbnails / name, rows.select(THUMBNAILS.names))
                write_rows(staged / name, rows.select(FEATURES.names))
                outcome.files.append(name)
            outcome.done = [range(span.start, span.start + len(taken))]
            outcome.seconds = time.monotonic() - began
            return outcome

        spans = image_ranges(files.num_rows, workers.slots, most)
        workers.run(work, spans, f"extract: {files.num_rows:,} images", outcomes)


@dataclass
class _Contents:
    """The contents of some files that go through the CNN.

    Attributes:
        places: The row of the file of each content.
        digests: The SHA-256 of each content.
        repeated: Files that repeat the content of an earlier file: their row, and the number of
            the content.
    """

    places: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    repeated: list[tuple[int, int]] = field(default_factory=list)


def _rows(
    files: pa.Table,
    graph: CompiledGraph,
    known: Known,
    read: Reader,
    how: Featurize,
    seconds: float,
) -> tuple[pa.Table, Outcome]:
    """Computes the rows of :data:`ROWS` of some files.

    No further file is started after some seconds, but at least one is done. The outcome has the
    range of finished files, the rejected ones and the copies.
    """
    outcome, new, thumbnails = Outcome(), _Contents(), list[bytes | None]()
    contents = _new_contents(files, known, read, seconds, outcome, new)
    results = list(how(contents, graph, thumbnails.append))
    rows = _table(files, new, results, thumbnails, outcome)
    if rows.num_rows:
        outcome.ran = frozenset([what_ran(graph)])
    return rows, outcome


def _new_contents(
    files: pa.Table,
    known: Known,
    read: Reader,
    seconds: float,
    outcome: Outcome,
    new: _Contents,
) -> Iterator[bytes | OSError]:
    """Yields the contents that go through the CNN.

    It adds finished files and copies to the outcome, and each content and repeated file to `new`.
    """
    paths, first = files["path"].to_pylist(), dict[str, int]()
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
                new.repeated.append((place, first[name]))
                continue
            first[name] = len(new.places)
        new.places.append(place)
        new.digests.append(name)
        yield content


def _table(
    files: pa.Table,
    new: _Contents,
    results: Sequence[Result],
    thumbnails: Sequence[bytes | None],
    outcome: Outcome,
) -> pa.Table:
    """The rows of :data:`ROWS` of files with features; adds the others to the outcome."""
    paths = files["path"].to_pylist()
    # The row of each file, and the number of its content.
    numbers = sorted([*zip(new.places, range(len(results)), strict=True), *new.repeated])
    good: list[tuple[int, int, FeatureRow]] = []
    for place, number in numbers:
        result = results[number]
        if isinstance(result, str):
            outcome.rejected[paths[place]] = result
        else:
            # The path and the digest of a box are those of its photograph, followed by the box.
            parts = parts_of(result, thumbnails[number])
            good += [(place, number, part) for part in parts]
    if not good:
        return ROWS.empty_table()
    found = files.take([place for place, _, _ in good])
    columns = {
        **{name: found[name] for name in LISTING.names},
        "path": [paths[place] + part.fragment for place, _, part in good],
        "sha256": [new.digests[number] + part.fragment for _, number, part in good],
        "features": lists(np.stack([part.features for _, _, part in good])),
        "thumbnail": pa.array([part.thumbnail for _, _, part in good], pa.binary()),
    }
    return pa.table(columns).select(ROWS.names).cast(ROWS)
