"""What the page of a run is made of, from the staged results of the run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from numpy.typing import NDArray

from fruits.classify import review
from fruits.classify.evaluate import Evaluation, labels_by_similarity
from fruits.classify.plane import Axes, discriminant_axes
from fruits.classify.review import Confusion
from fruits.classify.rows import scheme_of
from fruits.features.rows import matrix
from fruits.features.table import open_features
from fruits.report.map_data import VECTOR
from fruits.report.material import IMAGES, REJECTED, Material, Plane
from fruits.report.sections import paths_of
from fruits.report.thumbnails import evenly_by_label
from fruits.runs.classify import Classified
from fruits.runs.reduce import Reduced
from fruits.runs.work import Work
from fruits.spark.plane import coordinates

POINTS = 100_000
"""Images on the map, at most: a browser draws so many without a pause."""

PAIRS = 12
"""Confusions that are shown as photographs."""

_TABLES = ("label_suspect", "outlier", "split_duplicate", "duplicate", "near_duplicate", "drift")


def collect(
    work: Work,
    reduced: Reduced,
    classified: Classified | None,
    evaluations: Sequence[Evaluation],
    report: dict[str, Any],
) -> Material:
    """Gathers what the page shows; the results must be staged, with the plots.

    Args:
        work: the run.
        reduced: the scaler and the PCA.
        classified: the classifier, or None.
        evaluations: of the classifier, the one that matters first.
        report: the content of run.json.
    """
    said = _staged(work, "predictions" if classified else "pca", IMAGES)
    confusions = _confusions(evaluations, classified, said)
    quality = _quality(work)
    images = _thinned(said)
    axes = discriminant_axes(classified.classifier) if classified else None
    count = min(VECTOR, reduced.reduction.components)
    found = coordinates(*(work.spark, work.store, reduced.reduction, axes, images["path"], count))
    found = found.take(pc.index_in(images["path"], found["path"])).combine_chunks()
    vectors = _rows(found["components"])
    return Material(
        run=report,
        written=datetime.now().astimezone(),
        images=images,
        total=said.num_rows,
        planes=_planes(vectors, _rows(found["axes"]) if axes else None, axes, reduced),
        vectors=vectors,
        thumbnails=_thumbnails(work, found, paths_of(confusions, quality.values())),
        order=labels_by_similarity(classified.classifier) if classified else (),
        confusions=confusions,
        quality=quality,
        rejected=_staged(work, "rejected", REJECTED),
        static_map=work.staged.read("plots/pc1_pc2.png"),
    )


def _staged(work: Work, name: str, schema: pa.Schema) -> pa.Table:
    """Some columns of a staged table; those that it does not have are null."""
    place = work.staged.root / name
    table = pads.dataset(place.path, filesystem=place.filesystem, format="parquet", schema=schema)
    return table.to_table()


def _thinned(images: pa.Table) -> pa.Table:
    """At most :data:`POINTS` images, in their order, evenly by label."""
    if images.num_rows <= POINTS:
        return images
    return images.take(np.sort(evenly_by_label(images["label"])[:POINTS]))


def _rows(column: pa.ChunkedArray) -> NDArray[np.float32]:
    return matrix(pa.concat_arrays(column.chunks)).astype(np.float32, copy=False)


def _planes(
    vectors: NDArray[np.float32],
    axes_of: NDArray[np.float32] | None,
    axes: Axes | None,
    reduced: Reduced,
) -> list[Plane]:
    shares = reduced.reduction.explained_variance
    first = [f"PC{n + 1} ({shares[n]:.1%} of the variance)" for n in range(vectors.shape[1])]
    planes = [_plane("Principal components", vectors, first)]
    if axes is not None and axes_of is not None:
        titles = [
            f"LD{n + 1} ({share:.1%} of the variance between the labels)"
            for n, share in enumerate(axes.shares)
        ]
        # Two labels have one axis between them.
        points = np.column_stack([axes_of, vectors])
        planes.append(_plane("Discriminant axes", points, titles + first))
    return planes


def _plane(name: str, points: NDArray[np.float32], titles: Sequence[str]) -> Plane:
    """The first two columns; where there is one, the images are spread in the other by chance."""
    if points.shape[1] < 2:
        chance = np.random.default_rng(0).random((len(points), 1), np.float32)
        points, titles = np.hstack([points[:, :1], chance]), [*titles, "by chance"]
    return Plane(name, (titles[0], titles[1]), np.ascontiguousarray(points[:, :2]))


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


def _thumbnails(work: Work, shown: pa.Table, more: Sequence[str]) -> dict[str, bytes]:
    """Thumbnails by path, of the images on the map and of some more."""
    digests = dict(zip(shown["path"].to_pylist(), shown["sha256"].to_pylist(), strict=True))
    if left := [path for path in more if path not in digests]:
        table = open_features(work.config.output).to_table(
            columns=["path", "sha256"], filter=pc.field("path").isin(left)
        )
        digests |= zip(table["path"].to_pylist(), table["sha256"].to_pylist(), strict=True)
    wanted = pa.array(sorted(set(digests.values())), pa.string())
    pictures: dict[str, bytes] = {}
    for batch in work.store.thumbnails():
        own = batch.filter(pc.is_in(batch["sha256"], wanted))
        own = own.filter(own["thumbnail"].is_valid())
        pictures |= zip(own["sha256"].to_pylist(), own["thumbnail"].to_pylist(), strict=True)
    return {path: pictures[digest] for path, digest in digests.items() if digest in pictures}
