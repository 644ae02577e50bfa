"""Commits rows of features."""

from itertools import pairwise

import pyarrow as pa

from fruits.features.rows import REJECTED, write_rows
from fruits.features.writer import FeatureWriter
from fruits.tasks import measure_moments
from fruits.tasks.workers import Workers


def commit(store: FeatureWriter, rows: pa.Table, files: int) -> None:
    """Commits rows as one chunk with this number of files."""
    cuts = [rows.num_rows * n // files for n in range(files + 1)]
    names = [f"{len(store.files()) + n:032x}.parquet" for n in range(files)]
    for name, (start, end) in zip(names, pairwise(cuts), strict=True):
        write_rows(store.staged / name, rows.slice(start, end - start))
    store.commit(names, REJECTED.empty_table())


def drop(workers: Workers, store: FeatureWriter, stale: pa.Table) -> None:
    """Drops some of the rows of :func:`fruits.tasks.known.known_rows`."""
    measure_moments.update(workers, store, stale, stale.slice(0, 0))


def relabel(workers: Workers, store: FeatureWriter, changed: pa.Table) -> None:
    """Gives rows the label and split of :func:`fruits.features.changes.changed_rows`."""
    measure_moments.update(workers, store, changed.slice(0, 0), changed)
