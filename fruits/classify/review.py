"""Finds examples of the worst confusions of an evaluation, to review them.

The predictions should be of images that were not used for training, such as
`fruits.classify.train.HeldOut` or the other side of a split, because a classifier also learns the
wrong labels of its training images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fruits.classify.evaluate import Evaluation
from fruits.classify.rows import PREDICTIONS

REVIEWED = pa.schema(
    [PREDICTIONS.field(name) for name in ("path", "label", "predicted", "confidence")]
)
"""The columns of predictions from which examples are chosen."""


@dataclass(frozen=True)
class Confusion:
    """Images of one label that were predicted as another label.

    Attributes:
        label: The true label.
        predicted: The predicted label.
        images: The number of images.
        wrong: The path of the image that was confused with the highest confidence.
        example: The path of the image of the predicted label that was recognised with the highest
            confidence; None if there is none.
    """

    label: str
    predicted: str
    images: int
    wrong: str
    example: str | None


def confusions(
    evaluation: Evaluation, predictions: Iterable[pa.RecordBatch], count: int
) -> list[Confusion]:
    """The worst confusions of an evaluation, each with two images to compare.

    Args:
        evaluation: the evaluation of the images.
        predictions: rows of :data:`REVIEWED` in batches, of which one is in memory. Of images with
            the same confidence, the last one is chosen.
        count: the largest number of confusions to return.
    """
    worst = evaluation.worst(count)
    labels = pa.array({label for row in worst for label in row[:2]}, pa.string())
    others = pa.array({other for _, other, _ in worst}, pa.string())
    surest = REVIEWED.empty_table()
    for batch in predictions if worst else ():
        of_pairs = pc.and_(pc.is_in(batch["label"], labels), pc.is_in(batch["predicted"], others))
        rows = pa.Table.from_batches([batch.filter(of_pairs)]).select(REVIEWED.names)
        surest = _surest(pa.concat_tables([surest, rows]))
    paths = {(row["label"], row["predicted"]): row["path"] for row in surest.to_pylist()}
    return [
        Confusion(label, other, images, paths[label, other], paths.get((other, other)))
        for label, other, images in worst
        if (label, other) in paths
    ]


def _surest(rows: pa.Table) -> pa.Table:
    """The image with the highest confidence for each pair of true and predicted label."""
    ordered = rows.sort_by("confidence")  # Equal ones stay in their order.
    pairs = ordered.group_by(["label", "predicted"], use_threads=False)
    last = pairs.aggregate([("path", "last"), ("confidence", "last")])
    return last.select(["path_last", "label", "predicted", "confidence_last"]).rename_columns(
        REVIEWED.names
    )
