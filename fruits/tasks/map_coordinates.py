"""Computes the coordinates of images on the map of the report from their features."""

from __future__ import annotations

import pyarrow as pa

from fruits.classify.axes import Axes
from fruits.classify.model import Array
from fruits.features.digest_keys import Keys, digest_keys, is_in
from fruits.features.file_groups import task_groups
from fruits.features.rows import lists, matrix, read_rows
from fruits.features.table import FeatureTable
from fruits.reduction.fit import Reduction
from fruits.reduction.transform import affine
from fruits.storage.location import Location
from fruits.tasks.workers import Workers

COORDINATES = pa.schema(
    [
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("components", pa.list_(pa.float32())),
        ("axes", pa.list_(pa.float32())),
    ]
)

_TASK_FILES = 32
_TASK_BYTES = 128 * 2**20
"""What a task reads, one file after the other; it keeps only the images on the map."""


def coordinates(
    workers: Workers,
    store: FeatureTable,
    reduction: Reduction,
    axes: Axes | None,
    paths: pa.ChunkedArray,
    components: int,
) -> pa.Table:
    """Computes the leading components of some images, and their discriminant coordinates.

    Args:
        workers: The workers.
        store: The features.
        reduction: The reduction from features to components.
        axes: The discriminant axes of the classifier; None if there are none. The column is null
            then.
        paths: The paths of the images on the map, which must fit into the driver's memory.
        components: The number of leading components.

    Returns:
        A table of :data:`COORDINATES`, in any order. It may have further images, whose paths have
        the same key; see :mod:`fruits.features.digest_keys`.
    """
    files = store.files()
    groups = task_groups(store.root, files, _TASK_BYTES, _TASK_FILES, workers.slots)
    weights, offset = reduction.weights[:, :components], reduction.offset[:components]
    what = f"report: {len(files):,} files of features"
    # Of keys, since a filter of Arrow would hash all paths again for each file.
    with workers.share((weights, offset, axes, digest_keys([paths]))) as shared:
        tables = workers.run(lambda group: _of_group(group, *shared.value), groups, what)
    return pa.concat_tables([COORDINATES.empty_table(), *tables])


def _of_group(
    group: list[Location], weights: Array, offset: Array, axes: Axes | None, wanted: Keys
) -> pa.Table:
    """The coordinates of some images in a group of files; their paths have the wanted keys."""
    tables = (read_rows(file, ["path", "sha256", "features"]) for file in group)
    own = [table.filter(pa.array(is_in(wanted, table["path"]))) for table in tables]
    rows = pa.concat_tables(own).combine_chunks()
    if not rows.num_rows:
        return COORDINATES.empty_table()
    features = matrix(rows["features"].chunk(0))
    found = lists(axes.coordinates(features)) if axes else pa.nulls(rows.num_rows)
    return pa.table(
        [rows["path"], rows["sha256"], lists(affine(features, weights, offset)), found],
        schema=COORDINATES,
    )
