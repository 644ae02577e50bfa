"""Commits rows of features, and measures them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.features.moments import Moments
from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.writer import FeatureWriter
from fruits.tasks import update_rows
from fruits.tasks.workers import Workers

ROWS = 120
SIDES = ["train", "test", None]


def labelled_rows() -> pa.Table:
    """Rows with labels and sides of the split."""
    rng = np.random.default_rng(3)
    columns = {
        "path": [f"file:/x/{n:03}.jpg" for n in range(ROWS)],
        "label": [["Fig", "Kiwi", "Lime", None][n % 4] for n in range(ROWS)],
        "split": [SIDES[n // 4 % 3] for n in range(ROWS)],
        "sha256": ["00" * 32] * ROWS,
        "length": [10] * ROWS,
        "modified": pa.array([0] * ROWS, pa.timestamp("us", tz="UTC")),
        "features": lists(rng.normal(size=(ROWS, 6)).astype(np.float32)),
    }
    return pa.table(columns, FEATURES)


def commit(store: FeatureWriter, rows: pa.Table, files: int) -> None:
    """Commits rows as one chunk with this number of files."""
    cuts = [rows.num_rows * n // files for n in range(files + 1)]
    names = [f"{len(store.files()) + n:032x}.parquet" for n in range(files)]
    for name, (start, end) in zip(names, pairwise(cuts), strict=True):
        write_rows(store.staged / name, rows.slice(start, end - start))
    store.commit(names, REJECTED.empty_table())


def drop(workers: Workers, store: FeatureWriter, stale: pa.Table) -> None:
    """Drops some of the rows of :func:`fruits.tasks.known.known_rows`."""
    update_rows.update(workers, store, stale, stale.slice(0, 0))


def relabel(workers: Workers, store: FeatureWriter, changed: pa.Table) -> None:
    """Gives rows the label and split of :func:`fruits.features.changes.changed_rows`."""
    update_rows.update(workers, store, changed.slice(0, 0), changed)


def features_of(rows: pa.Table) -> NDArray[Any]:
    return np.array(rows["features"].to_pylist(), np.float32).reshape(rows.num_rows, -1)


def expected(rows: pa.Table) -> bytes:
    """The moments of rows, measured at once."""
    return Moments.of(features_of(rows), rows["label"].to_pylist()).to_bytes()


def kept(store: FeatureWriter) -> dict[str, int]:
    """The stored moments, and when they were written."""
    folder = Path(store.uri.removeprefix("file:"), "_chunks")
    return {file.name: file.stat().st_mtime_ns for file in sorted(folder.glob("*.moments*"))}


def staged(store: FeatureWriter) -> list[str]:
    return [file.name for file in Path(store.staged.path).glob("*")]
