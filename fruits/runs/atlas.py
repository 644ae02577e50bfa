"""The step of a run that writes ``atlas.parquet``, a map of the images for Embedding Atlas."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.features.rows import matrix, scan, write_rows
from fruits.quality.atlas import atlas_table
from fruits.quality.copies import COLUMNS
from fruits.runs.context import RunContext
from fruits.sources.listing import sample_evenly

FILE = "atlas.parquet"

MOST_IMAGES = 100_000
"""The map has at most this many images, evenly sampled: all of them are in memory at once."""

_COMPONENTS_BYTES = 256 << 20


def write_atlas(context: RunContext) -> None:
    """Stages the map, if it is wanted, from the staged components and predictions."""
    if not context.config.atlas:
        return
    with context.stages("atlas"):
        images = context.store.dataset().to_table(columns=COLUMNS)
        if context.chosen is not None:
            images = images.filter(pc.is_in(images["path"], context.chosen["path"]))
        images = sample_evenly(images.sort_by("path"), MOST_IMAGES)
        predictions = None
        if context.staged.exists("predictions"):
            columns = ["path", "predicted", "confidence"]
            predictions = context.staged.dataset("predictions").to_table(columns=columns)
        components = _components(context, images)
        table = atlas_table(images, components, predictions, context.store.thumbnails())
        write_rows(context.staged.uri(FILE), table)


def _components(context: RunContext, images: pa.Table) -> NDArray[np.float32]:
    """The (n, k) components of the images, in their order.

    If all components would take too much memory, only the leading ones are returned.
    """
    parts, most = [], max(2, _COMPONENTS_BYTES // 4 // max(images.num_rows, 1))
    for batch in scan(context.staged.dataset("pca"), ["path", "pca"], rows=8192):
        own = batch.filter(pc.is_in(batch["path"], images["path"].combine_chunks()))
        if own.num_rows:
            parts.append(matrix(own["pca"])[:, :most].astype(np.float32))
    return np.concatenate(parts)
