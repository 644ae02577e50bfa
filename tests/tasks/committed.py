"""Commits rows of features."""

from itertools import pairwise

import pyarrow as pa

from fruits.features.rows import REJECTED, write_rows
from fruits.features.writer import FeatureWriter


def commit(store: FeatureWriter, rows: pa.Table, files: int) -> None:
    """Commits rows as one chunk with this number of files."""
    cuts = [rows.num_rows * n // files for n in range(files + 1)]
    names = [f"{len(store.files()) + n:032x}.parquet" for n in range(files)]
    for name, (start, end) in zip(names, pairwise(cuts), strict=True):
        write_rows(store.staged / name, rows.slice(start, end - start))
    store.commit(names, REJECTED.empty_table())
