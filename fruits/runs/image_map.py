"""The map of the images of a run, for its report and for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.classify.axes import Axes, discriminant_axes
from fruits.classify.model import Classifier
from fruits.features.digest_keys import digest_keys, is_in
from fruits.features.rows import matrix, rows_of_paths, sample_batches, scan
from fruits.features.table import FeatureTable
from fruits.reduction.fit import Reduction
from fruits.report.data import IMAGES, Plane
from fruits.report.explore import map_frame
from fruits.report.map_data import VECTOR
from fruits.report.thumbnails import evenly_by_label
from fruits.runs.outputs import Outputs
from fruits.runs.trained_images import TrainedImages
from fruits.sources.parts import IN_MEMORY
from fruits.tasks.map_coordinates import coordinates
from fruits.tasks.workers import Workers

if TYPE_CHECKING:
    # Importing them takes a second, and a run does not need them here.
    import pandas as pd
    from pyspark.sql import SparkSession

POINTS = 100_000
"""The maximum number of images on the map, which a browser draws without a pause."""


@dataclass(frozen=True, eq=False)
class ImageMap:
    """Images on a map.

    Attributes:
        images: The n images, rows of :data:`fruits.report.data.IMAGES`.
        digests: The SHA-256 of each image, by path.
        planes: The coordinates of the images in each plane.
        vectors: The leading components of the images, float32 of shape (n, k).
    """

    images: pa.Table
    digests: Mapping[str, str]
    planes: Sequence[Plane]
    vectors: NDArray[np.float32]


def map_images(
    workers: Workers,
    store: FeatureTable,
    reduction: Reduction,
    classifier: Classifier | None,
    images: pa.Table,
) -> ImageMap:
    """Computes the coordinates of images.

    Args:
        workers: The workers.
        store: The features.
        reduction: The scaler and the PCA.
        classifier: The classifier, whose axes are the second plane; None for no second plane.
        images: The images, rows of :data:`fruits.report.data.IMAGES`.
    """
    axes = discriminant_axes(classifier) if classifier else None
    count = min(VECTOR, reduction.components)
    found = coordinates(workers, store, reduction, axes, images["path"], count)
    found = found.take(pc.index_in(images["path"], found["path"])).combine_chunks()
    vectors = _rows(found["components"])
    places = _rows(found["axes"]) if axes else None
    digests = zip(found["path"].to_pylist(), found["sha256"].to_pylist(), strict=True)
    return ImageMap(images, dict(digests), _planes(vectors, places, axes, reduction), vectors)


def thumbnails(
    stores: Sequence[FeatureTable | TrainedImages],
    digests: Mapping[str, str],
    more: Sequence[str] = (),
) -> dict[str, bytes]:
    """Thumbnails by path.

    Args:
        stores: The features of runs, or the training images of models.
        digests: The SHA-256 of images by path.
        more: The paths of images whose digests are not known yet.
    """
    known = dict(digests)
    for store in stores:
        if left := [path for path in more if path not in known]:
            known |= _digests(store, left)
    # Not by a filter of Arrow, which would hash all wanted digests again for each file.
    wanted = digest_keys([pa.array(set(known.values()), pa.string())])
    pictures: dict[str, bytes] = {}
    for batch in (batch for store in stores for batch in store.thumbnails()):
        own = batch.filter(pa.array(is_in(wanted, batch["sha256"])))
        own = own.filter(own["thumbnail"].is_valid())
        pictures |= zip(own["sha256"].to_pylist(), own["thumbnail"].to_pylist(), strict=True)
    return {path: pictures[digest] for path, digest in known.items() if digest in pictures}


def _digests(store: FeatureTable | TrainedImages, paths: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of images by path, without images that the store does not have."""
    batches = scan(store.dataset(), ["path", "sha256"])
    rows = rows_of_paths(batches, pa.array(paths, pa.string()))
    return dict(zip(rows["path"].to_pylist(), rows["sha256"].to_pylist(), strict=True))


def sampled(images: pa.Table) -> pa.Table:
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
        # Two labels have only one axis: the first component is the second one.
        both = np.column_stack([places, vectors])
        planes.append(_plane("Discriminant axes", both, titles + first))
    return planes


def _plane(name: str, points: NDArray[np.float32], titles: Sequence[str]) -> Plane:
    """A plane of the first two columns; a single column gets random numbers as the second one."""
    if points.shape[1] < 2:
        chance = np.random.default_rng(0).random((len(points), 1), np.float32)
        points, titles = np.hstack([points[:, :1], chance]), [*titles, "by chance"]
    return Plane(name, (titles[0], titles[1]), np.ascontiguousarray(points[:, :2]))


def frame_of(
    spark: SparkSession, outputs: Outputs, reduction: Reduction, classifier: Classifier | None
) -> tuple[pd.DataFrame, list[str]]:
    """The map of a finished run, for a notebook.

    Returns:
        A table of :func:`fruits.report.explore.map_frame`, and the names of the two columns that
        separate the labels best.
    """
    from fruits.spark.workers import SparkWorkers

    rows = outputs.published("predictions" if classifier else "pca", IMAGES)
    images = pa.Table.from_batches(sample_batches(rows, IN_MEMORY), IMAGES).sort_by("path")
    store = FeatureTable(outputs.root / "features")
    found = map_images(SparkWorkers(spark), store, reduction, classifier, sampled(images))
    frame = map_frame(found.images, found.planes, thumbnails([store], found.digests))
    return frame, [title.partition(" (")[0] for title in found.planes[-1].titles]
