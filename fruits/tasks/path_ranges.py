"""Ranges of paths: each becomes one file of a table that is ordered by path."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.rows import Between, read_rows, write_rows
from fruits.storage.files import link_or_copy
from fruits.storage.location import Location
from fruits.tasks.workers import Workers

# The approximate number of rows of a file of components.
ROWS_OF_A_FILE = 16_384


# The rows of a row group of a sorted file: a range decodes only the groups that it needs. The
# driver receives the first path of each.
ROWS_OF_A_SAMPLE = 512


@dataclass(frozen=True)
class Earlier:
    """The tables of an earlier run, whose rows are reused.

    Attributes:
        root: The folder of the tables.
        names: The names of the files of each table, in order.
        fresh: The files of features whose rows are not in the tables, or may differ.
        gone: The sorted paths of rows in the tables whose features were dropped.
    """

    root: Location
    names: list[str]
    fresh: list[Location]
    gone: list[str]


@dataclass(frozen=True)
class Sorted:
    """A sorted file.

    Attributes:
        name: The name of the file.
        rows: The number of rows.
        samples: Sampled paths of the file, with the first and the last one.
        counts: The number of rows in the range of each earlier file that has any, by its place.
    """

    name: str
    rows: int
    samples: list[str]
    counts: dict[int, int]

    @classmethod
    def of(cls, name: str, paths: Sequence[str], group: int, bounds: Sequence[str]) -> Sorted:
        """Describes a sorted file.

        Args:
            name: The name of the file.
            paths: Its paths, at least one.
            group: The number of rows of a row group; its first path is a sample.
            bounds: The first path of each earlier file; the first file also has all paths before.
        """
        samples = [paths[row] for row in (*range(0, len(paths), group), len(paths) - 1)]
        counts = Counter(max(0, bisect_right(bounds, path) - 1) for path in paths)
        return cls(name, len(paths), samples, dict(counts))


@dataclass(frozen=True)
class Old:
    """A file of an earlier run: its name, its first path, and its rows."""

    name: str
    first: str
    rows: int


@dataclass(frozen=True)
class Range:
    """A range of paths.

    Attributes:
        first: The lower bound, inclusive; None for no bound.
        end: The upper bound, exclusive; None for no bound.
        files: The new sorted files that may have rows in the range.
        old: The file of the earlier run that may have rows in the range; None without one.
        rows: The number of rows of the old file if it is reused unchanged; else None.
        gone: The paths of the old file whose features were dropped.
    """

    first: str | None
    end: str | None
    files: list[str]
    old: str | None = None
    rows: int | None = None
    gone: list[str] = field(default_factory=list)

    @property
    def bounds(self) -> Between:
        """The bounds, for :func:`fruits.features.rows.read_rows`."""
        return self.first, self.end


def old_files(workers: Workers, earlier: Earlier) -> list[Old]:
    """The files of an earlier run that are not empty."""
    folder = earlier.root / "pca"

    def look(name: str) -> Old | None:
        paths = read_rows(folder / name, ["path"])["path"]
        return Old(name, paths[0].as_py(), len(paths)) if len(paths) else None

    what = f"project: {len(earlier.names):,} files of the last run"
    return [one for one in workers.run(look, earlier.names, what) if one]


def of_all(files: Sequence[Sorted]) -> list[Range]:
    """Ranges of about :data:`ROWS_OF_A_FILE` rows for all rows of sorted files."""
    return _between(files, None, None, None, [])


def changed(old: Sequence[Old], files: Sequence[Sorted], gone: Sequence[str]) -> list[Range]:
    """The ranges of earlier files; a range with many new rows is divided.

    Args:
        old: The earlier files, in order.
        files: The new sorted files.
        gone: The sorted paths of dropped rows.
    """
    bounds: list[str | None] = [None, *(file.first for file in old[1:]), None]
    of_old: defaultdict[int, list[Sorted]] = defaultdict(list)
    for one in files:
        for number in one.counts:
            of_old[number].append(one)
    found: list[Range] = []
    for number, (file, first, end) in enumerate(zip(old, bounds, bounds[1:], strict=False)):
        start = 0 if first is None else bisect_left(gone, first)
        lost = [*gone[start : len(gone) if end is None else bisect_left(gone, end)]]
        own = of_old[number]
        new = sum(one.counts[number] for one in own)
        if not new and not lost:
            found.append(Range(first, end, [], file.name, file.rows))
        elif file.rows + new > 2 * ROWS_OF_A_FILE:
            found += _between(own, first, end, file.name, lost)
        else:
            found.append(Range(first, end, [one.name for one in own], file.name, None, lost))
    return found


def _between(
    files: Sequence[Sorted],
    first: str | None,
    end: str | None,
    old: str | None,
    gone: list[str],
) -> list[Range]:
    """Ranges of about :data:`ROWS_OF_A_FILE` rows of sorted files, between two bounds."""
    samples = sorted(
        path
        for path in {path for file in files for path in file.samples[:-1]}
        if (first is None or path > first) and (end is None or path < end)
    )
    step = max(1, ROWS_OF_A_FILE // ROWS_OF_A_SAMPLE)
    found = []
    for start, stop in itertools.pairwise([first, *samples[step::step], end]):
        some = [
            file.name
            for file in files
            if (stop is None or file.samples[0] < stop)
            and (start is None or file.samples[-1] >= start)
        ]
        if some or old:
            found.append(Range(start, stop, some, old, None, gone))
    return found


def write(
    span: Range,
    tables: Sequence[str],
    folder: Location,
    place: Location,
    number: int,
    earlier: Location | None,
) -> int:
    """Writes the file of a range for each table; no file if there are no rows.

    Args:
        span: The range.
        tables: The names of the tables.
        folder: The folder of the sorted files.
        place: The folder of the tables.
        number: The number of the range.
        earlier: The folder with the tables of an earlier run; None without one.

    Returns:
        The number of rows of the first table.
    """
    name = f"{number:09}.parquet"
    if span.rows is not None and span.old and earlier:
        for table in tables:
            link_or_copy(earlier / table / span.old, place / table / name)
        return span.rows
    # By the first table, which has all rows: other tables may no longer have a row of an image.
    stale = _stale(span, folder / tables[0]) if span.old else None
    first, *others = tables
    rows = _merged(span, first, folder, earlier, stale)
    if not rows.num_rows:
        return 0
    write_rows(place / first / name, rows)
    for table in others:
        write_rows(place / table / name, _merged(span, table, folder, earlier, stale))
    count: int = rows.num_rows
    return count


def merge(
    span: Range,
    tables: Sequence[str],
    folder: Location,
    name: str,
    bounds: Sequence[str],
    group: int,
) -> Sorted:
    """Merges a range of sorted files, which has rows, to one sorted file for each table.

    Args:
        span: The range.
        tables: The names of the tables.
        folder: The folder of the sorted files.
        name: The name of the new files.
        bounds: The first path of each earlier file, see :meth:`Sorted.of`.
        group: The number of rows of a row group.
    """
    merged = {table: _merged(span, table, folder, None, None) for table in tables}
    for table, rows in merged.items():
        write_rows(folder / table / name, rows, group)
    return Sorted.of(name, merged[tables[0]]["path"].to_pylist(), group, bounds)


def _stale(span: Range, folder: Location) -> pa.ChunkedArray:
    """The paths of outdated rows in the old file: dropped ones, and those with a new row."""
    found = [pa.chunked_array([pa.array(span.gone, pa.string())])]
    new = [read_rows(folder / name, ["path"], between=span.bounds) for name in span.files]
    found += [rows["path"] for rows in new]
    return pa.chunked_array([chunk for some in found for chunk in some.chunks], pa.string())


def _merged(
    span: Range,
    table: str,
    folder: Location,
    earlier: Location | None,
    stale: pa.ChunkedArray | None,
) -> pa.Table:
    found = [read_rows(folder / table / name, between=span.bounds) for name in span.files]
    if earlier and span.old:
        old = read_rows(earlier / table / span.old, between=span.bounds)
        found.append(old.filter(pc.invert(pc.is_in(old["path"], stale))))
    return pa.concat_tables(found).sort_by("path")
