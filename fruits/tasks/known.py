"""Reads the committed rows that a run compares with its images, in parts if there are many."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from fruits.features.changes import DERIVED
from fruits.features.digest_keys import photograph_keys
from fruits.features.file_groups import group_files
from fruits.features.known_contents import DigestFile, Digests, write_digests
from fruits.features.rows import read_rows
from fruits.features.table import FeatureTable
from fruits.features.writer import FeatureWriter
from fruits.sources import parts
from fruits.sources.listing import IDENTITY, LISTING
from fruits.sources.parts import Parts
from fruits.sources.spread import Spread, gather
from fruits.storage.ahead import one_ahead
from fruits.storage.files import delete
from fruits.storage.location import Location
from fruits.tasks.workers import Workers

KNOWN = LISTING.append(pa.field("key", pa.uint64())).append(pa.field("file", pa.string()))
"""The columns of :func:`known_rows`, with the types of temporary files."""

_READ_FILES = 64
"""The maximum number of files of a task that reads a few columns."""

_NAMES = pa.dictionary(pa.int32(), pa.string())

ROWS = pa.schema(
    [
        *(LISTING.field(name) for name in IDENTITY),
        *((name, _NAMES) for name in DERIVED),
        ("key", pa.uint64()),
        ("file", _NAMES),
    ]
)
"""The columns of :func:`known_rows`."""

_MOST_FILES = 1024
"""The maximum number of files that one job reads."""


def known_rows(
    workers: Workers, table: FeatureTable, files: Sequence[Location] | None = None
) -> pa.Table:
    """The identity, label, split, key of the content, and file of each committed row.

    Args:
        workers: The workers.
        table: The features.
        files: Some of its files; None for all.

    Returns:
        A table of :data:`ROWS`: ``label``, ``split`` and ``file`` are dictionaries of strings,
        and ``key`` is that of :func:`fruits.features.digest_keys.photograph_keys`.
    """
    files = table.files() if files is None else files
    found = _read_all(workers, table, files, _read_known, "extract")
    return pa.concat_tables([ROWS.empty_table(), *found]).unify_dictionaries()


def paths_by_file(workers: Workers, table: FeatureTable) -> Iterator[pa.Table]:
    """Yields the ``path`` and the name of the ``file`` of all committed rows, in limited tables.

    Args:
        workers: The workers.
        table: The features.
    """
    both = (_read_all(workers, table, some, _read_paths, "classifier") for some in _groups(table))
    for found in one_ahead(both):
        yield from _limited(pa.concat_tables(found))


def _read_all(
    workers: Workers,
    table: FeatureTable,
    files: Sequence[Location],
    read: Callable[[Sequence[Location]], pa.Table],
    stage: str,
) -> list[pa.Table]:
    """Reads a few columns of files, in groups."""
    share = min(_READ_FILES, math.ceil(len(files) / workers.slots))
    groups = [files[start : start + share] for start in range(0, len(files), share or 1)]
    if table.root.is_local:
        # Workers would need longer to send the rows than this process needs to read them.
        with ThreadPoolExecutor(workers.slots) as threads:
            return [*threads.map(read, groups)]
    return workers.run(read, groups, f"{stage}: rows of {len(files):,} files")


def _read_paths(files: Sequence[Location]) -> pa.Table:
    """The rows of :func:`paths_by_file` of some files."""
    found = []
    for file in files:
        paths = read_rows(file, ["path"])
        found.append(paths.append_column("file", pa.repeat(file.name, paths.num_rows)))
    return pa.concat_tables(found)


def _read_known(files: Sequence[Location]) -> pa.Table:
    """The rows of :func:`known_rows` of some files."""
    found = []
    for file in files:
        rows = read_rows(file, [*IDENTITY, *DERIVED, "sha256"])
        columns = [rows[name] for name in (*IDENTITY, *DERIVED)]
        columns += [photograph_keys(rows["sha256"]), pa.repeat(file.name, rows.num_rows)]
        found.append(pa.table(columns, ROWS.names).cast(ROWS))
    return pa.concat_tables(found)


def known_parts(workers: Workers, table: FeatureTable, bounds: Sequence[str]) -> Parts:
    """The rows of :func:`known_rows`, in the same parts as a listing.

    Args:
        workers: The workers.
        table: The features.
        bounds: The bounds of the listing's parts. Without bounds, all rows are in memory.
    """
    if not bounds:
        return Parts.of(known_rows(workers, table))
    spread = Spread(KNOWN, bounds)
    for rows in _slices(workers, table, _groups(table)):
        spread.add(rows)
    return spread.parts()


def divided_by_known(workers: Workers, table: FeatureTable, listing: Parts) -> Parts:
    """The rows of :func:`known_rows`, in the parts of a listing, or in their own if it is short.

    Args:
        workers: The workers.
        table: The features.
        listing: The listing. A short one has no bounds, but there may be many known rows.
    """
    groups = [] if listing.bounds else list(_groups(table))
    if len(groups) * parts.PART_ROWS <= parts.IN_MEMORY:
        return known_parts(workers, table, listing.bounds)
    return gather(_slices(workers, table, groups), KNOWN)


def _slices(
    workers: Workers, table: FeatureTable, groups: Iterable[list[Location]]
) -> Iterator[pa.Table]:
    """The rows of :data:`KNOWN` in groups of files, in tables of a limited length."""
    # The workers read the next rows while this process divides the last ones.
    for rows in one_ahead(known_rows(workers, table, files) for files in groups):
        for some in _limited(rows):
            yield some.select(KNOWN.names).cast(KNOWN)


def _limited(rows: pa.Table) -> Iterator[pa.Table]:
    """The same rows in tables of a limited length."""
    for start in range(0, rows.num_rows, parts.PART_ROWS):
        yield rows.slice(start, parts.PART_ROWS)


@contextmanager
def known_digests(
    workers: Workers, store: FeatureWriter, known: Parts
) -> Iterator[Digests | DigestFile]:
    """The digests of contents with features; if there are many, they are in a staged file.

    Args:
        workers: The workers that use the digests.
        store: The features.
        known: The rows of :func:`known_parts`.
    """
    if known.num_rows <= parts.IN_MEMORY:
        yield Digests.of(known)
        return
    place = store.staged / f"{uuid.uuid4().hex}.digests"
    yield write_digests(known, place, workers.scratch)
    delete(place)


def _groups(table: FeatureTable) -> Iterator[list[Location]]:
    """The committed files, in groups of some hundred thousand rows."""
    sizes = table.file_sizes()
    if not sizes:
        return
    # A small file has more bytes for each row.
    largest = max(sizes, key=sizes.__getitem__)
    for group in group_files([*sizes], sizes, _bytes_of_rows(table, largest, sizes), _MOST_FILES):
        yield [table.root / name for name in group]


def _bytes_of_rows(table: FeatureTable, name: str, sizes: dict[str, int]) -> int:
    """The bytes of files with as many rows as a part, estimated from one file."""
    place = table.root / name
    with place.filesystem.open(place.path, "rb") as file:
        rows: int = pq.read_metadata(file).num_rows
    return parts.PART_ROWS * sizes[name] // max(rows, 1)
