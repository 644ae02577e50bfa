"""Tasks over the table of features: reading, dropping and relabelling rows, and moments."""

import math
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import OutputError
from fruits.features.changes import StoredMoments, changed_copy, rows_of
from fruits.features.moments import Moments, measured_by_label
from fruits.features.moments_file import merge_files, read_moments
from fruits.features.table import CHUNKS_FOLDER, THUMBNAILS_FOLDER, Chunk, FeatureTable
from fruits.features.writer import STAGED, FeatureWriter
from fruits.folds.kept_folds import KeptFolds, delete_folds
from fruits.sources.listing import IDENTITY
from fruits.storage.files import delete_files, link_or_copy, paths_in, replace
from fruits.storage.location import Location
from fruits.tasks.merge_moments import merged
from fruits.tasks.workers import Workers

_UNLABELLED = "unlabelled"
"""In the names of stored moments without sums of labels."""

_FEWEST_FILES = 4
"""The minimum number of files of a task: packing its result takes as long as measuring two."""


def update(workers: Workers, writer: FeatureWriter, stale: pa.Table, changed: pa.Table) -> None:
    """Drops committed rows, and gives others the label and the split that they have in a listing.

    New files replace those with such rows, and new chunks their chunks. The sums of dropped rows
    are subtracted exactly from the stored moments of their chunk, unless rows of the chunk get
    another label or split. If a call is interrupted, the next one finishes it.

    Args:
        workers: The workers.
        writer: The features.
        stale: The rows to drop, some of the rows of :func:`fruits.tasks.known.known_rows`.
        changed: The result of :func:`fruits.features.changes.changed_rows`.
    """
    relabelled = set(pc.unique(changed["file"]).to_pylist())
    names = relabelled.union(pc.unique(stale["file"]).to_pylist())
    if not names:
        return
    chunks = [chunk for chunk in writer.chunks() if names & set(chunk.files)]
    jobs = []
    for chunk, file in _kept(writer, [one for one in chunks if not relabelled & set(one.files)]):
        files = _files(writer, chunk)
        touched = [one for one in files if one.name in names]
        jobs.append(StoredMoments(files, touched, file, _staged(writer, file), *_kind(file)))
    what = f"drop: moments of {stale.num_rows:,} removed images"
    new = {name: f"{uuid.uuid4().hex}.parquet" for name in sorted(names)}
    with workers.share((stale.select(IDENTITY), changed.drop_columns(["file"]))) as shared:
        subtracted = workers.run(lambda job: job.subtract(shared.value[0]), jobs, what)
        if stale.num_rows:
            _keep_gone(workers, writer, stale)
        root = writer.root

        def copy(names: tuple[str, str]) -> None:
            old, name = names
            with suppress(FileNotFoundError):  # Earlier versions made no thumbnails.
                link_or_copy(root / THUMBNAILS_FOLDER / old, root / THUMBNAILS_FOLDER / name)
            changed_copy(root / old, root / STAGED / name, *shared.value)

        what = f"update: {stale.num_rows:,} removed images, {changed.num_rows:,} other labels"
        workers.run(copy, [*new.items()], what)
    moments = [job.staged for job, was in zip(jobs, subtracted, strict=True) if was]
    for chunk in chunks:
        kept = [new.get(name, name) for name in chunk.files]
        staged = [new[name] for name in chunk.files if name in new]
        own = [one for one in moments if one.name.startswith(f"{chunk.number:06}.")]
        writer.replace_chunks([chunk], kept, staged, own)
    writer.delete_replaced()


def _keep_gone(workers: Workers, writer: FeatureWriter, stale: pa.Table) -> None:
    """Stores dropped rows until they are subtracted from the moments of folds."""
    kept = KeptFolds.read(writer.root)
    if not kept:
        return
    try:
        own = kept.measured_among(stale)
    except OutputError:
        delete_folds(writer.root)  # All images are measured again.
        return
    prefix = kept.dropped_prefix()
    with workers.share((kept, own.select(IDENTITY))) as shared:
        workers.run(
            lambda file: shared.value[0].keep_dropped(prefix, file, shared.value[1]),
            [writer.root / name for name in sorted(set(own["file"].to_pylist()))],
            f"drop: keep {own.num_rows:,} images for the moments of folds",
        )


def moments(
    workers: Workers,
    table: FeatureTable,
    side: str | None = None,
    listing: pa.Table | None = None,
    by_label: bool = True,
) -> Moments:
    """The moments of all features, of one side of the split, or of some files.

    The sums are exact, so the result depends only on the set of rows: neither on the cluster, nor
    on commits, nor on interruptions. The moments of each chunk are stored, so old features are not
    read again when the table grows. Damaged moments, and those of an earlier version, are
    measured again.

    Args:
        workers: The workers.
        table: The features.
        side: The side of the split, such as "train"; None for all rows.
        listing: A table with the ``path`` of the files to measure, sorted; None for all.
        by_label: Whether to keep sums of each label. Otherwise, all rows count as rows without a
            label, and everything about all rows has the same bits.
    """
    chunks = [chunk for chunk in table.chunks() if chunk.files]
    kind = [side] if side else []
    suffix = ".".join([*kind, *([] if by_label else [_UNLABELLED]), "moments"])
    targets = {chunk.number: table.side_file(chunk.number, suffix) for chunk in chunks}
    if listing is not None:
        targets = {number: _staged(table, file) for number, file in targets.items()}
    paths = None if listing is None else listing["path"]

    def measure(some: list[Chunk]) -> None:
        own = {targets[chunk.number]: chunk for chunk in some}
        _measure(workers, table, own, partial(rows_of, side=side, by_label=by_label), paths)

    stored = set(_stored(table) if listing is None else ())
    measure([chunk for chunk in chunks if targets[chunk.number].name not in stored])
    total = Moments.empty()
    own = {targets[chunk.number]: chunk for chunk in chunks}
    few = merged(workers, list(own), table.root / STAGED)
    damaged: list[Location] = []
    for file in few:
        try:
            total = total.merge(read_moments(file))
        except ValueError:
            damaged.append(file)
    measure([own[file] for file in damaged])
    again = merged(workers, damaged, table.root / STAGED)
    for file in again:
        total = total.merge(read_moments(file))
    done = {*few, *again} - own.keys() if listing is None else {*few, *again, *own}
    delete_files(table.root, [file.path for file in done])
    return total


def _measure(
    workers: Workers,
    table: FeatureTable,
    chunks: dict[Location, Chunk],
    read: Callable[..., pa.Table],
    paths: pa.ChunkedArray | None,
) -> None:
    """Measures chunks, whose keys are the files for their moments, in groups of files."""
    if not chunks:
        return
    slots = workers.slots
    share = math.ceil(sum(len(chunk.files) for chunk in chunks.values()) / slots)
    share = max(share, _FEWEST_FILES)
    parts = {file: _parts(table, file, chunk, share) for file, chunk in chunks.items()}
    jobs = [part for own in parts.values() for part in own]
    what = f"fit: moments of {len(chunks):,} chunks"
    if paths is None:
        workers.run(lambda part: _measure_part(part, read), jobs, what)
    else:
        with workers.share(paths) as shared:
            workers.run(lambda part: _measure_part(part, read, shared.value), jobs, what)
    divided = {file: [part for part, _ in own] for file, own in parts.items() if len(own) > 1}
    what = f"fit: merge {len(divided):,} chunks"
    workers.run(lambda job: merge_files(job[1], job[0]), list(divided.items()), what)
    delete_files(table.root, [file.path for own in divided.values() for file in own])


def _measure_part(
    part: tuple[Location, list[Location]],
    read: Callable[..., pa.Table],
    paths: pa.ChunkedArray | None = None,
) -> None:
    target, files = part
    batches = (b for file in files for b in read(file, paths=paths).to_batches())
    replace(target, measured_by_label(batches).to_bytes())


def _parts(
    table: FeatureTable, target: Location, chunk: Chunk, share: int
) -> list[tuple[Location, list[Location]]]:
    """The groups of files of a chunk, each with the file for its moments."""
    files = _files(table, chunk)
    groups = math.ceil(len(files) / share)
    if groups == 1:
        return [(target, files)]
    cuts = [len(files) * number // groups for number in range(groups + 1)]
    return [
        (_staged(table, target).extended(f".{number}"), files[start:end])
        for number, (start, end) in enumerate(pairwise(cuts))
    ]


def _stored(table: FeatureTable) -> list[str]:
    """The names of the files in the folder of commits, which also has the stored moments."""
    return sorted(path.rpartition("/")[2] for path in paths_in(table.root / CHUNKS_FOLDER))


def _kept(table: FeatureTable, chunks: list[Chunk]) -> list[tuple[Chunk, Location]]:
    """The stored moments of chunks: those of all rows, and those of sides of the split."""
    of_number = {f"{chunk.number:06}": chunk for chunk in chunks}
    return [
        (of_number[number], table.root / CHUNKS_FOLDER / name)
        for name in _stored(table)
        if (number := name.partition(".")[0]) in of_number and name.endswith(".moments")
    ]


def _kind(file: Location) -> tuple[str | None, bool]:
    """The side of the split, and whether there are sums of labels.

    Both are in the name of stored moments, such as ``000000.train.unlabelled.moments``.
    """
    _, *kind, _ = file.name.split(".")
    by_label = _UNLABELLED not in kind
    side = kind if by_label else kind[:-1]
    return (side[0] if side else None), by_label


def _files(table: FeatureTable, chunk: Chunk) -> list[Location]:
    return [table.root / name for name in chunk.files]


def _staged(table: FeatureTable, file: Location) -> Location:
    return table.root / STAGED / file.name
