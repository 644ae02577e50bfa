"""The moments of the table of features, measured in tasks and stored for each chunk."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pyarrow as pa

from fruits.features.changes import rows_of
from fruits.features.moments import Moments, measured_by_label
from fruits.features.moments_file import merge_files, read_moments
from fruits.features.table import Chunk, FeatureTable
from fruits.features.writer import STAGED
from fruits.storage.files import delete_files, replace
from fruits.storage.location import Location
from fruits.tasks.merge_moments import merged
from fruits.tasks.stored_moments import UNLABELLED, files_of, staged_file, stored_files
from fruits.tasks.workers import Workers

_FEWEST_FILES = 4
"""The minimum number of files of a task: packing its result takes as long as measuring two."""


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
    suffix = ".".join([*kind, *([] if by_label else [UNLABELLED]), "moments"])
    targets = {chunk.number: table.side_file(chunk.number, suffix) for chunk in chunks}
    if listing is not None:
        targets = {number: staged_file(table, file) for number, file in targets.items()}
    paths = None if listing is None else listing["path"]

    def measure(some: list[Chunk]) -> None:
        own = {targets[chunk.number]: chunk for chunk in some}
        _measure(workers, table, own, partial(rows_of, side=side, by_label=by_label), paths)

    stored = set(stored_files(table) if listing is None else ())
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
    with workers.share(paths) as shared:
        workers.run(lambda part: _measure_part(part, read, shared.value), jobs, what)
    divided = {file: [part for part, _ in own] for file, own in parts.items() if len(own) > 1}
    what = f"fit: merge {len(divided):,} chunks"
    workers.run(lambda job: merge_files(job[1], job[0]), list(divided.items()), what)
    delete_files(table.root, [file.path for own in divided.values() for file in own])


def _measure_part(
    part: tuple[Location, list[Location]],
    read: Callable[..., pa.Table],
    paths: pa.ChunkedArray | None,
) -> None:
    target, files = part
    batches = (b for file in files for b in read(file, paths=paths).to_batches())
    replace(target, measured_by_label(batches).to_bytes())


def _parts(
    table: FeatureTable, target: Location, chunk: Chunk, share: int
) -> list[tuple[Location, list[Location]]]:
    """The groups of files of a chunk, each with the file for its moments."""
    files = files_of(table, chunk)
    groups = math.ceil(len(files) / share)
    if groups == 1:
        return [(target, files)]
    cuts = [len(files) * number // groups for number in range(groups + 1)]
    return [
        (staged_file(table, target).extended(f".{number}"), files[start:end])
        for number, (start, end) in enumerate(pairwise(cuts))
    ]
