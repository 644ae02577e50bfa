"""The figures of each label in an evaluation; of very many labels, the largest are listed."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.classify.model import Ints
from fruits.sources.row_counts import COUNT

LISTED_LABELS = 10_000
"""The most labels, and the most labels without training images, that an evaluation lists."""

LISTED_CONFUSIONS = 100_000
"""The most pairs of true and predicted label that an evaluation lists.

It is larger than :data:`LISTED_LABELS`, so that wrong predictions are listed, too."""


@dataclass(frozen=True)
class LabelFigures:
    """The figures of one label: true images, predicted images, and scores from 0 to 1."""

    label: str
    images: int
    predicted: int
    precision: float
    recall: float
    f1: float


def figures_of(pairs: pa.Table) -> pa.Table:
    """The figures of all labels, with the columns of :class:`LabelFigures`, sorted by label."""
    right = pairs.filter(pc.equal(pairs["label"], pairs["predicted"]))
    labels = pc.unique(pa.chunked_array([*pairs["label"].chunks, *pairs["predicted"].chunks]))
    labels = labels.take(pc.sort_indices(labels))
    wanted, got = (_sums(pairs, name, labels) for name in ("label", "predicted"))
    hits = _sums(right, "label", labels)
    # Zero of zero images is 0.
    precision, recall = hits / np.maximum(got, 1), hits / np.maximum(wanted, 1)
    columns = [labels, wanted, got, precision, recall, 2 * hits / (wanted + got)]
    return pa.table(columns, [one.name for one in fields(LabelFigures)])


def _sums(pairs: pa.Table, name: str, labels: pa.Array) -> Ints:
    """The number of images by the labels in a column, (c,) int64."""
    places = pc.index_in(pairs[name], labels).to_numpy()
    sums = np.zeros(len(labels), np.int64)
    np.add.at(sums, places, pairs[COUNT].to_numpy())
    return sums


def largest(rows: pa.Table, most: int) -> pa.Table:
    """At most so many rows, those with the most images, in their order."""
    if rows.num_rows <= most:
        return rows
    order = np.argsort(-rows[COUNT].to_numpy(), kind="stable")
    return rows.take(pa.array(np.sort(order[:most])))


def listed_pairs(pairs: pa.Table, labels: pa.ChunkedArray, most: int) -> pa.Table:
    """At most so many pairs of true and predicted label, in their order.

    First come the right predictions of these labels, which are the diagonal of a confusion matrix;
    then the wrong predictions with the most images; then the other right predictions.
    """
    if pairs.num_rows <= most:
        return pairs
    right = pc.equal(pairs["label"], pairs["predicted"]).to_numpy()
    own = pc.is_in(pairs["label"], labels.combine_chunks()).to_numpy()
    rank = np.where(right, np.where(own, 0, 2), 1)
    order = np.lexsort((-pairs[COUNT].to_numpy(), rank))
    return pairs.take(pa.array(np.sort(order[:most])))


def images_in(rows: pa.Table) -> int:
    """The number of images of all rows together."""
    return int(pc.sum(rows[COUNT]).as_py() or 0)
