"""Where images are on the map of a run: on the page, and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from fruits.classify.model import Classifier
from fruits.classify.plane import Axes, discriminant_axes
from fruits.features.rows import matrix, read_rows
from fruits.features.table import FeatureTable
from fruits.reduction.fit import Reduction
from fruits.report.explore import map_frame
from fruits.report.map_data import VECTOR
from fruits.report.material import IMAGES, Plane
from fruits.report.thumbnails import evenly_by_label
from fruits.runs.outputs import Outputs
from fruits.spark.plane import coordinates

POINTS = 100_000
"""Images on the map, at most: a browser draws so many without a pause."""


@dataclass(frozen=True, eq=False)
class Mapped:
    """Images on a map.

    Attributes:
        images: n rows of :data:`fruits.report.material.IMAGES`.
        digests: the SHA-256 of each image, by path.
        planes: in which they lie.
        vectors: (n, k) float32, their leading components.
    """

    images: pa.Table
    digests: Mapping[str, str]
    planes: Sequence[Plane]
    vectors: NDArray[np.float32]


def map_images(
    spark: SparkSession,
    store: FeatureTable,
    reduction: Reduction,
    classifier: Classifier | None,
    said: pa.Table,
) -> Mapped:
    """Computes where images are; of more than :data:`POINTS`, of some of each label.

    Args:
        spark: the session.
        store: the features.
        reduction: scaler and PCA.
        classifier: whose axes are the second plane; None for none.
        said: of all images, rows of :data:`fruits.report.material.IMAGES`.
    """
    images = _thinned(said)
    axes = discriminant_axes(classifier) if classifier else None
    count = min(VECTOR, reduction.components)
    found = coordinates(spark, store, reduction, axes, images["path"], count)
    found = found.take(pc.index_in(images["path"], found["path"])).combine_chunks()
    vectors = _rows(found["components"])
    places = _rows(found["axes"]) if axes else None
    digests = zip(found["path"].to_pylist(), found["sha256"].to_pylist(), strict=True)
    return Mapped(images, dict(digests), _planes(vectors, places, axes, reduction), vectors)


def thumbnails(
    stores: Sequence[FeatureTable], digests: Mapping[str, str], more: Sequence[str] = ()
) -> dict[str, bytes]:
    """Thumbnails by path.

    Args:
        stores: features of one run or more.
        digests: the SHA-256 of images by path.
        more: paths of images whose digests are not known yet.
    """
    known = dict(digests)
    for store in stores:
        if left := [path for path in more if path not in known]:
            known |= _digests(store, left)
    wanted = pa.array(sorted(set(known.values())), pa.string())
    pictures: dict[str, bytes] = {}
    for batch in (batch for store in stores for batch in store.thumbnails()):
        own = batch.filter(pc.is_in(batch["sha256"], wanted))
        own = own.filter(own["thumbnail"].is_valid())
        pictures |= zip(own["sha256"].to_pylist(), own["thumbnail"].to_pylist(), strict=True)
    return {path: pictures[digest] for path, digest in known.items() if digest in pictures}


def _digests(store: FeatureTable, paths: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of some images by path; those that the store does not have are left out."""
    wanted = pa.array(paths, pa.string())
    found: dict[str, str] = {}
    for file in store.files():
        rows = read_rows(file, ["path", "sha256"], wanted)
        found |= zip(rows["path"].to_pylist(), rows["sha256"].to_pylist(), strict=True)
    return found


def _thinned(images: pa.Table) -> pa.Table:
    """At most :data:`POINTS` images, in their order, evenly by label."""
    if images.num_rows <= POINTS:
        return images
    return images.take(np.sort(evenly_by_label(images["label"])[:POINTS]))


def _rows(column: pa.ChunkedArray) -> NDArray[np.float32]:
    return matrix(pa.concat_arrays(column.chunks)).astype(np.float32, copy=False)


def _planes(
    vectors: NDArray[np.float32],
    places: NDArray[np.float32] | None,
    axes: Axes | None,
    reduction: Reduction,
) -> list[Plane]:
    shares = reduction.explained_variance
    first = [f"PC{n + 1} ({shares[n]:.1%} of the variance)" for n in range(vectors.shape[1])]
    planes = [_plane("Principal components", vectors, first)]
    if axes is not None and places is not None:
        titles = [
            f"LD{n + 1} ({share:.1%} of the variance between the labels)"
            for n, share in enumerate(axes.shares)
        ]
        # Two labels have one axis between them.
        both = np.column_stack([places, vectors])
        planes.append(_plane("Discriminant axes", both, titles + first))
    return planes


def _plane(name: str, points: NDArray[np.float32], titles: Sequence[str]) -> Plane:
    """The first two columns; where there is one, the images are spread in the other by chance."""
    if points.shape[1] < 2:
        chance = np.random.default_rng(0).random((len(points), 1), np.float32)
        points, titles = np.hstack([points[:, :1], chance]), [*titles, "by chance"]
    return Plane(name, (titles[0], titles[1]), np.ascontiguousarray(points[:, :2]))


def frame_of(
    spark: SparkSession, outputs: Outputs, reduction: Reduction, classifier: Classifier | None
) -> tuple[pd.DataFrame, list[str]]:
    """The images of a finished run on its map, for a notebook.

    Returns:
        A table of :func:`fruits.report.explore.map_frame`, and the names of the two columns that
        tell the labels apart best.
    """
    rows = outputs.table(spark, "predictions" if classifier else "pca")
    known = [name for name in IMAGES.names if name in rows.columns]
    said = rows.select(*known).toArrow().sort_by("path")
    for field in IMAGES:
        if field.name not in known:
            said = said.append_column(field, pa.nulls(said.num_rows, field.type))
    store = FeatureTable(outputs.uri("features"))
    mapped = map_images(spark, store, reduction, classifier, said.select(IMAGES.names))
    frame = map_frame(mapped.images, mapped.planes, thumbnails([store], mapped.digests))
    return frame, [title.partition(" (")[0] for title in mapped.planes[-1].titles]
