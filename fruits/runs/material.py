"""What the page of a run is made of, from the staged results of the run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from fruits.classify import review
from fruits.classify.evaluate import Evaluation, labels_by_similarity
from fruits.classify.review import Confusion
from fruits.classify.rows import scheme_of
from fruits.features.rows import sample_batches
from fruits.features.table import FeatureTable
from fruits.report.material import IMAGES, REJECTED, Material
from fruits.report.sections import paths_of
from fruits.runs.classify import Classified
from fruits.runs.extract import Extracted
from fruits.runs.mapped import map_images, thumbnails
from fruits.runs.reduce import Reduced
from fruits.runs.work import Work
from fruits.storage.location import hadoop_uri

PAIRS = 12
"""Confusions that are shown as photographs."""

MOST_IMAGES = 200_000
"""Images of which the page knows at most: their names are in the memory of the driver."""

_TABLES = ("label_suspect", "outlier", "split_duplicate", "duplicate", "near_duplicate", "drift")


def collect(
    work: Work,
    extracted: Extracted,
    reduced: Reduced,
    classified: Classified | None,
    evaluations: Sequence[Evaluation],
    report: dict[str, Any],
) -> Material:
    """Gathers what the page shows; the results must be staged, with the plots.

    Args:
        work: the run.
        extracted: the images.
        reduced: the scaler and the PCA.
        classified: the classifier, or None.
        evaluations: of the classifier, the one that matters first.
        report: the content of run.json.
    """
    said = _shown(work, "predictions" if classified else "pca", extracted.images)
    confusions = _confusions(evaluations, classified, said)
    quality = _quality(work)
    classifier = classified.classifier if classified else None
    shown = paths_of(confusions, quality.values())
    mapped = map_images(work.spark, work.store, reduced.reduction, classifier, said)
    return Material(
        run=report,
        written=datetime.now().astimezone(),
        images=mapped.images,
        total=extracted.images,
        planes=mapped.planes,
        vectors=mapped.vectors,
        thumbnails=thumbnails(_stores(work), mapped.digests, shown),
        order=labels_by_similarity(classifier) if classifier else (),
        confusions=confusions,
        quality=quality,
        rejected=_staged(work, "rejected", REJECTED),
        static_map=work.staged.read("plots/pc1_pc2.png"),
    )


def _stores(work: Work) -> list[FeatureTable]:
    """The features of the run, and those of the run whose model is used: twins may be there."""
    stores: list[FeatureTable] = [work.store]
    if work.config.model is not None:
        stores.append(FeatureTable(f"{hadoop_uri(work.config.model).rstrip('/')}/features"))
    return stores


def _shown(work: Work, name: str, total: int) -> pa.Table:
    """The images of a staged table, in the order of their paths; of very many, some, evenly."""
    if total <= MOST_IMAGES:
        return _staged(work, name, IMAGES)
    some = sample_batches(_dataset(work, name, IMAGES), MOST_IMAGES)
    return pa.Table.from_batches(some, IMAGES)


def _staged(work: Work, name: str, schema: pa.Schema) -> pa.Table:
    """Some columns of a staged table; those that it does not have are null."""
    return _dataset(work, name, schema).to_table()


def _dataset(work: Work, name: str, schema: pa.Schema) -> pads.Dataset:
    place = work.staged.root / name
    return pads.dataset(place.path, filesystem=place.filesystem, format="parquet", schema=schema)


def _confusions(
    evaluations: Sequence[Evaluation], classified: Classified | None, said: pa.Table
) -> list[Confusion]:
    """The worst confusions of the first evaluation, each with two photographs."""
    if not evaluations or classified is None:
        return []
    if held_out := classified.held_out:
        known, predictions = classified.classifier.labels, held_out.predictions
        predicted = [known[place] for place in predictions.predicted.tolist()]
        paths, labels, confidence = held_out.paths, held_out.labels, predictions.confidence
    else:
        rows = _measured(evaluations[0].scheme, said)
        paths, labels, predicted = (
            rows[name].to_pylist() for name in ("path", "label", "predicted")
        )
        confidence = rows["confidence"].to_numpy()
    return review.confusions(evaluations[0], paths, labels, predicted, confidence, PAIRS)


def _measured(scheme: str, said: pa.Table) -> pa.Table:
    """The rows that an evaluation is of."""
    sides = [side for side in pc.unique(said["split"]).to_pylist() if scheme_of(side) == scheme]
    return said.filter(
        pc.and_(pc.is_in(said["split"], pa.array(sides, pa.string())), pc.is_valid(said["label"]))
    )


def _quality(work: Work) -> dict[str, pa.Table]:
    """The tables of images that deserve a look, by name; those that this run has made."""
    found = {}
    for name in _TABLES:
        place = work.staged.root / "quality" / f"{name}.parquet"
        if place.filesystem.exists(place.path):
            dataset = pads.dataset(place.path, filesystem=place.filesystem, format="parquet")
            found[name] = dataset.to_table()
    return found
