"""Merges sorted files to longer sorted ones, if many of them have rows in each range of paths.

A collection that grew in small steps over all folders has such files. The task of a range would
read a part of each of them, so the time would grow with the square of the number of images. With a
few passes over all rows, a task reads a few dozen files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fruits.storage.files import delete_files
from fruits.storage.location import Location
from fruits.tasks import path_ranges as ranges
from fruits.tasks.path_ranges import Range, Sorted
from fruits.tasks.workers import Workers

MOST_FILES = 64
"""The most sorted files that a range of paths reads on average."""

MERGED = 32
"""The number of sorted files, or of runs of such files, that are merged together."""


def few_files(
    workers: Workers,
    files: Sequence[Sorted],
    spans_of: Callable[[Sequence[Sorted]], list[Range]],
    tables: Sequence[str],
    folder: Location,
    bounds: Sequence[str],
) -> list[Range]:
    """The ranges of paths of sorted files, which are merged first if ranges have many of them.

    Args:
        workers: The workers.
        files: The sorted files.
        spans_of: The function that divides sorted files into ranges.
        tables: The names of the tables that each sorted file has.
        folder: The folder of the sorted files.
        bounds: The first path of each earlier file, see :meth:`Sorted.of`.
    """
    runs = [[file] for file in files]
    spans = spans_of(files)
    level = 0
    while len(runs) > 1 and _are_many(spans):
        level += 1
        old = [folder / table / file.name for run in runs for file in run for table in tables]
        runs = _merged(workers, runs, tables, folder, f"{level}-", bounds)
        delete_files(folder, [place.path for place in old])
        spans = spans_of([file for run in runs for file in run])
    return spans


def _are_many(spans: Sequence[Range]) -> bool:
    read = [len(span.files) for span in spans if span.files]
    return sum(read) > MOST_FILES * len(read)


def _merged(
    workers: Workers,
    runs: Sequence[Sequence[Sorted]],
    tables: Sequence[str],
    folder: Location,
    prefix: str,
    bounds: Sequence[str],
) -> list[list[Sorted]]:
    """Merges runs: lists of sorted files without common ranges, each from some runs."""
    groups = [runs[start : start + MERGED] for start in range(0, len(runs), MERGED)]
    jobs = [
        (number, span)
        for number, group in enumerate(groups)
        for span in ranges.of_all([file for run in group for file in run])
    ]
    with workers.share((bounds, ranges.ROWS_OF_A_SAMPLE)) as shared:
        done = workers.run(
            lambda job: ranges.merge(job[1], tables, folder, job[0], *shared.value),
            [(f"{prefix}{number:09}.parquet", span) for number, (_, span) in enumerate(jobs)],
            f"project: merge {sum(map(len, runs)):,} sorted files",
        )
    found: list[list[Sorted]] = [[] for _ in groups]
    for (number, _), file in zip(jobs, done, strict=True):
        found[number].append(file)
    return found
