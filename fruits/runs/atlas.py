"""The step of a run that writes ``atlas.parquet``, a map of the images for Embedding Atlas."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from numpy.typing import NDArray

from fruits.features.rows import matrix, write_rows
from fruits.features.table import open_features
from fruits.quality.atlas import atlas_table
from fruits.quality.copies import COLUMNS
from fruits.runs.work import Work
from fruits.sources.listing import sample_evenly

FILE = "atlas.parquet"

MOST_IMAGES = 100_000
"""Of more, so many are taken, evenly: their pictures and components are in memory together."""

_COMPONENTS_BYTES = 256 << 20


def write_atlas(work: Work) -> None:
    """Stages the map, from the components and predictions that are staged, where it is wanted."""
    if not work.config.atlas:
        return
    with work.stages("atlas"):
        images = open_features(work.config.output).to_table(columns=COLUMNS)
        if work.chosen is not None:
            images = images.filter(pc.is_in(images["path"], work.chosen["path"]))
        images = sample_evenly(images.sort_by("path"), MOST_IMAGES)
        predictions = None
        if work.staged.exists("predictions"):
            columns = ["path", "predicted", "confidence"]
            predictions = _staged(work, "predictions").to_table(columns=columns)
        components = _components(work, images)
        table = atlas_table(images, components, predictions, work.store.thumbnails())
        write_rows(work.staged.uri(FILE), table)


def _components(work: Work, images: pa.Table) -> NDArray[np.float32]:
    """(n, k) of the images, in their order; the leading ones where all would take much memory."""
    parts, most = [], max(2, _COMPONENTS_BYTES // 4 // max(images.num_rows, 1))
    for batch in _staged(work, "pca").to_batches(columns=["path", "pca"], batch_size=8192):
        own = batch.filter(pc.is_in(batch["path"], images["path"].combine_chunks()))
        if own.num_rows:
            parts.append(matrix(own["pca"])[:, :most].astype(np.float32))
    return np.concatenate(parts)


def _staged(work: Work, name: str) -> pads.Dataset:
    place = work.staged.root / name
    return pads.dataset(place.path, filesystem=place.filesystem, format="parquet")
