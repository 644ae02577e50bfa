"""The step of a run that looks for what is wrong with the images; writes ``quality/``."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from fruits.errors import OutputError
from fruits.features.rows import write_rows
from fruits.features.table import FeatureTable, open_features
from fruits.quality.copies import COLUMNS, most_serious_first
from fruits.quality.drift import drift_of_runs, drift_of_splits, farthest_first
from fruits.quality.duplicates import duplicates
from fruits.quality.findings import Finding, by_kind, counts_of, file_name
from fruits.quality.near import near_duplicates
from fruits.runs.classify import Classified
from fruits.runs.extract import Extracted
from fruits.runs.judge import judged
from fruits.runs.reduce import TRAIN, Reduced
from fruits.runs.work import Work
from fruits.storage.location import hadoop_uri

FOLDER = "quality"

MOST_IMAGES = 1_000_000
"""Where there are more, their names and digests would fill the memory of the driver."""


@dataclass(frozen=True)
class Quality:
    """What was found.

    Attributes:
        counts: findings by kind.
        skipped: what was not looked for, by kind, with the reason.
    """

    counts: dict[str, int]
    skipped: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """For run.json: the counts, and ``skipped`` where something was."""
        return self.counts | ({"skipped": self.skipped} if self.skipped else {})


def find_quality(
    work: Work, extracted: Extracted, reduced: Reduced, classified: Classified | None
) -> Quality:
    """Stages the tables of findings.

    Args:
        work: the run, whose components and predictions are staged.
        extracted: the images.
        reduced: the scaler and the PCA.
        classified: the classifier; None where there is none.
    """
    with work.stages("quality"):
        found: list[Finding] = []
        skipped: dict[str, str] = {}
        many = extracted.images > MOST_IMAGES
        images = _left_out(work, classified) if many else _images(work)
        if many:
            for kind in ("duplicate", "near-duplicate"):
                skipped[kind] = f"not looked for among more than {MOST_IMAGES:,} images"
        else:
            found += _copies(work, images, skipped)
        if classified:
            found += judged(work, classified, images, skipped)
        found += _drift(work, extracted, reduced)
        tables = by_kind(found)
        for kind, table in tables.items():
            write_rows(work.staged.uri(f"{FOLDER}/{file_name(kind)}"), table)
        return Quality(counts_of(tables), skipped)


def _images(work: Work) -> pa.Table:
    """The images that the run uses, in the order of their paths."""
    images = open_features(work.config.output).to_table(columns=COLUMNS)
    if work.chosen is not None:
        images = images.filter(pc.is_in(images["path"], work.chosen["path"]))
    return images.sort_by("path")


def _left_out(work: Work, classified: Classified | None) -> pa.Table:
    """Those of the images that were left out in a cross-validation, which are not many."""
    paths = classified.held_out.paths if classified and classified.held_out else []
    chosen = pc.field("path").isin(pa.array(paths, pa.string()))
    return open_features(work.config.output).to_table(columns=COLUMNS, filter=chosen)


def _copies(work: Work, images: pa.Table, skipped: dict[str, str]) -> list[Finding]:
    """Images that another image is equal to, or looks the same as."""
    stores: list[FeatureTable] = [work.store]
    trained = None
    if (model := work.config.model) is not None:
        with suppress(OutputError):  # The features of that run may no longer be there.
            trained = _training_images(model, images)
            stores.append(FeatureTable(f"{hadoop_uri(model).rstrip('/')}/features"))
    thumbnails = (batch for store in stores for batch in store.thumbnails())
    alike, missing = near_duplicates(images, thumbnails, trained)
    if missing:
        skipped["near-duplicate"] = f"not looked for among {missing:,} images without a thumbnail"
    return most_serious_first(duplicates(images, trained) + alike)


def _training_images(model: str, images: pa.Table) -> pa.Table:
    """The images that the model of another run was trained on, but for those of this run."""
    rows = open_features(model).to_table(columns=COLUMNS)
    if (training := rows.filter(pc.field("split") == TRAIN)).num_rows:
        rows = training
    return rows.filter(pc.invert(pc.is_in(rows["path"], images["path"])))


def _drift(work: Work, extracted: Extracted, reduced: Reduced) -> list[Finding]:
    reduction = reduced.reduction
    found: list[Finding] = []
    if reduced.side is not None:
        place = work.staged.root / "pca"
        table = pads.dataset(place.path, filesystem=place.filesystem, format="parquet")
        sizes = {side: count for side, count in extracted.sides.items() if side}
        columns = ["label", "split", "pca"]
        found += drift_of_splits(table.to_batches(columns=columns, batch_size=8192), sizes)
    if reduced.last is not None:
        name = "the model" if work.basis else "the last run"
        arrays = np.asarray(reduction.weights), np.asarray(reduction.offset)
        found += drift_of_runs(reduced.measured, reduced.last, *arrays, reduced.side, name)
    return farthest_first(found)
