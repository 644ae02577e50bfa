"""Extraction: the images of a listing -> rows of features, committed chunk by chunk.

One worker reads an image, decodes it, runs it through the CNN and writes its row; only file names
go back to the driver. A chunk is one or a few jobs: a task ends after some seconds, and the next
job takes the images that are left.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

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
from fruits.tasks.copies import COPIES, with_contents
from fruits.tasks.image_ranges import MOST_IMAGES, image_ranges
from fruits.tasks.workers import Shared, WorkerDiedError, Workers

# The digests of contents that are committed already.
Known = Digests | DigestFile


# The backbone and the known digests.
Inputs = Shared[tuple[CompiledGraph, Known]]


Featurize = Callable[[Iterable[bytes | Exception], CompiledGraph, Keep], Iterator[Result]]


SAVE_SHARE = 10
"""The minimum ratio of the time between two commits of copies to the time of a commit."""


# The row of an image; its thumbnail is written to another file than its features.
ROWS = FEATURES.append(pa.field("thumbnail", pa.binary()))


@dataclass(frozen=True)
class Extraction:
    """The result of an extraction; all other files are copies that are saved.

    Attributes:
        extracted: The number of files that went through the CNN and have features.
        rejected: The files without features and the reasons, rows of
            :data:`fruits.features.rows.REJECTED`, in the same parts as the files.
        copies: The copies of known contents that are not saved yet, rows of
            :data:`fruits.tasks.copies.COPIES`.
    """

    extracted: int
    rejected: Parts
    copies: Parts


def extract(
    workers: Workers,
    files: Parts,
    known: Known,
    graph: CompiledGraph,
    store: FeatureWriter,
    chunk: int,
    progress: Callable[[int], object] = lambda done: None,
    contents: Reader = contents_of,
    save_copies: Callable[[Parts], object] | None = None,
) -> Extraction:
    """Extracts the features of files and commits them, chunk by chunk and at least once a minute.

    A file whose content already has features under another name is a copy.

    Args:
        workers: The workers.
        files: The files to extract, rows of :data:`fruits.sources.listing.LISTING`.
        known: The contents that already have features, see `fruits.tasks.known.known_digests`.
        graph: The backbone.
        store: The committed features, to which the new ones are added.
        chunk: The maximum number of files in a chunk.
        progress: Called with the number of finished files, from time to time.
        contents: Reads items of their source.
        save_copies: Commits the rows of copies, see :func:`fruits.tasks.copies.commit_copies`. It
            is called after a chunk, about once a minute, or less often if it is slow. None to
            return all copies.
    """
    rejected, copies = Spread(REJECTED, files.bounds), Spread(COPIES, files.bounds)
    total, start, saved, due = Outcome(), 0, 0, time.monotonic() + commits.COMMIT_SECONDS
    with workers.share((graph, known)) as shared:
        # From part to part, chunks follow the order of the paths, by which the tables of results
        # are merged. In a part, they follow archives, so that a task reads its images with few
        # requests.
        for part in files.in_file_order().chunks(chunk):

            def advance(done: int, before: int = start) -> None:
                progress(before + done)

            chunk_commits, most = Commits(workers, store, part, advance), most_images(total)
            _extract_chunk(workers, part, shared, store, contents, chunk_commits, most)
            chunk_commits.commit()
            done = chunk_commits.total
            rejected.add(with_reasons(part, done.rejected))
            copies.add(with_contents(part, done.copies))
            if save_copies and time.monotonic() >= due:
                began, found = time.monotonic(), copies.parts()
                if found.num_rows:
                    save_copies(found)
                saved, copies = saved + found.num_rows, Spread(COPIES, files.bounds)
                # Each time, it reads the digests of all known contents.
                taken = time.monotonic() - began
                due = began + taken + max(commits.COMMIT_SECONDS, SAVE_SHARE * taken)
            start += part.num_rows
            total = Outcome(done=[range(start)], seconds=total.seconds + done.seconds)
    without, again = rejected.parts(), copies.parts()
    extracted = files.num_rows - without.num_rows - saved - again.num_rows
    return Extraction(extracted, without, again)


def most_images(done: Outcome) -> int:
    """The number of images that a task most likely finishes in time, by the speed so far."""
    if not done.images or done.seconds <= 0:
        return MOST_IMAGES
    in_time = done.images / done.seconds * commits.TASK_SECONDS / 2
    return max(1, int(min(MOST_IMAGES, in_time)))


def _extract_chunk(
    workers: Workers,
    files: pa.Table,
    shared: Inputs,
    store: FeatureWriter,
    contents: Reader,
    chunk: Commits,
    most: int,
) -> None:
    """Writes the rows of one chunk; after a crash of a worker, it uses subprocesses."""
    how: Featurize = featurize
    while files.num_rows:
        outcomes: list[Outcome] = []
        try:
            with chunk.during(outcomes):
                _extract(workers, files, shared, store, contents, how, most, outcomes)
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
    workers: Workers,
    files: pa.Table,
    shared: Inputs,
    store: FeatureWriter,
    contents: Reader,
    featurize: Featurize,
    most: int,
    outcomes: list[Outcome],
) -> None:
    """Writes the rows of the files that are done in time, by one job."""
    job, seconds = uuid.uuid4(), commits.TASK_SECONDS
    staged, thumbnails = store.staged, store.root / THUMBNAILS_FOLDER
    with workers.share(files) as listing:

        def work(span: range) -> Outcome:
            watch()
            began = time.monotonic()
            chosen = listing.value.slice(span.start, len(span))
            rows, outcome = _rows(chosen, *shared.value, contents, featurize, seconds)
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


def _rows(
    files: pa.Table,
    graph: CompiledGraph,
    known: Known,
    read: Reader,
    featurize: Featurize,
    seconds: float,
) -> tuple[pa.Table, Outcome]:
    """Computes the rows of :data:`ROWS` of some files.

    No further file is started after some seconds, but at least one is done. The outcome has the
    range of finished files, the rejected ones and the copies.
    """
    paths = files["path"].to_pylist()
    outcome = Outcome()
    # The row in `files` and the digest of each content that goes through the CNN.
    places: list[int] = []
    digests: list[str] = []
    # Files that repeat the content of an earlier file: their row, and the number of the content.
    repeated: list[tuple[int, int]] = []
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
                    repeated.append((place, first[name]))
                    continue
                first[name] = len(places)
            places.append(place)
            digests.append(name)
            yield content

    thumbnails: list[bytes | None] = []
    results = list(featurize(contents(), graph, thumbnails.append))
    # The row of each file, and the number of its content.
    numbers = sorted([*zip(places, range(len(results)), strict=True), *repeated])
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
