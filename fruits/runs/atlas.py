"""The step of a run that writes ``atlas.parquet``, a map of the images for Embedding Atlas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.features.rows import matrix, rows_of_paths, sample_batches, scan, write_rows
from fruits.quality.atlas import atlas_table
from fruits.quality.copies import COLUMNS
from fruits.runs.context import RunContext
from fruits.runs.output_record import ATLAS

if TYPE_CHECKING:
    import pyarrow.dataset as pads

MOST_IMAGES = 100_000
"""The map has at most this many images, evenly sampled: all of them are in memory at once."""

_COMPONENTS_BYTES = 256 << 20


def write_atlas(context: RunContext) -> None:
    """Stages the map, if it is wanted, from the staged components and predictions."""
    if not context.config.atlas:
        return
    with context.stages("atlas"):
        paths, components = _sample(context.staged.dataset("pca"))
        images = _rows_of(context.store.dataset(), COLUMNS, paths)
        predictions = None
        if context.staged.exists("predictions"):
            columns = ["path", "predicted", "confidence"]
            predictions = _rows_of(context.staged.dataset("predictions"), columns, paths)
        table = atlas_table(images, components, predictions, context.store.thumbnails())
        write_rows(context.staged.root / ATLAS, table)


def _sample(table: pads.Dataset) -> tuple[pa.Array, NDArray[np.float32]]:
    """The paths of an even sample of the images, and their components, (n, k).

    If all components would take too much memory, only the leading ones are returned.
    """
    count = table.count_rows()
    most = max(2, _COMPONENTS_BYTES // 4 // max(min(count, MOST_IMAGES), 1))
    paths, parts = [], []
    for batch in sample_batches(table, MOST_IMAGES, ["path", "pca"], count):
        paths.append(batch["path"])
        parts.append(matrix(batch["pca"])[:, :most].astype(np.float32))
    return pa.concat_arrays(paths), np.concatenate(parts)


def _rows_of(table: pads.Dataset, columns: list[str], paths: pa.Array) -> pa.Table:
    """The rows of some images, in the order of their paths."""
    rows = rows_of_paths(scan(table, columns), paths)
    return rows.take(pc.index_in(paths, rows["path"].combine_chunks()))
