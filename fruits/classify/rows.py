"""Predictions as Arrow tables: the rows of ``predictions/``, and what an evaluation is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.classify.evaluate import Evaluation, evaluate
from fruits.classify.model import Array, Classifier, Ints, Predictions, mapped, nearest_mean
from fruits.features.rows import lists

PREDICTIONS = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("predicted", pa.string()),
        ("confidence", pa.float64()),
        ("unknown", pa.bool_()),
        ("distance", pa.float64()),
        ("top5", pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float64())]))),
    ]
)

SCORES = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("predicted", pa.int64()),
        ("confidence", pa.float64()),
        ("top", pa.list_(pa.int64())),
        ("likelihood", pa.float64()),
        ("nearest", pa.int64()),
        ("unknown", pa.bool_()),
    ]
)
"""Of labelled images: predictions as places among the labels of the classifier."""


@dataclass(frozen=True, eq=False)
class TablePredictor:
    """How images are predicted, and which of them are scored.

    Attributes:
        classifier: of the features.
        means: (c, d) float64, of the features of each label after the transform, by which the
            nearest mean is found for comparison; None where they are not known.
        scored: sides of the split whose labelled images are scored; None for all images.
    """

    classifier: Classifier
    means: Array | None
    scored: frozenset[str] | None

    def tables(self, rows: pa.Table, features: NDArray[np.float32]) -> tuple[pa.Table, pa.Table]:
        """Predict images.

        Args:
            rows: of n images, with the columns path, label and split.
            features: (n, d) of the same images.

        Returns:
            A table of :data:`PREDICTIONS`, and one of :data:`SCORES` of those to score.
        """
        truth = self.classifier.places(rows["label"].to_pylist())
        predictions = self.classifier.predict(features, truth)
        chosen = pc.is_valid(rows["label"])
        if self.scored is not None:
            sides = pa.array(sorted(self.scored), pa.string())
            chosen = pc.and_(chosen, pc.is_in(rows["split"], sides))
        some = np.flatnonzero(np.asarray(chosen))
        nearest = self._nearest(features[some])
        return (
            _prediction_rows(rows, predictions, self.classifier.labels),
            _score_rows(rows.take(some), predictions, some, nearest),
        )

    def _nearest(self, features: NDArray[np.float32]) -> Ints | None:
        """(n,) places of the labels whose means are nearest, without regard to any covariance."""
        if self.means is None:
            return None
        f = mapped(features, self.classifier.transform)
        return nearest_mean(f, self.means, self.classifier.mean)


def _prediction_rows(rows: pa.Table, predictions: Predictions, labels: Sequence[str]) -> pa.Table:
    names = pa.array(labels, pa.string())
    count, ranks = predictions.top.shape
    flat = pa.StructArray.from_arrays(
        [names.take(pa.array(predictions.top.ravel())), predictions.top_probability.ravel()],
        ["label", "probability"],
    )
    offsets = np.arange(count + 1, dtype=np.int32) * ranks
    columns = {
        **{name: rows[name] for name in ("path", "label", "split")},
        "predicted": names.take(pa.array(predictions.predicted)),
        "confidence": predictions.confidence,
        "unknown": predictions.unknown,
        "distance": predictions.distance,
        "top5": pa.ListArray.from_arrays(offsets, flat),
    }
    return pa.table(columns, PREDICTIONS)


def _score_rows(
    rows: pa.Table, predictions: Predictions, some: Ints, nearest: Ints | None
) -> pa.Table:
    columns = {
        **{name: rows[name] for name in ("path", "label", "split")},
        "predicted": predictions.predicted[some],
        "confidence": predictions.confidence[some],
        "top": lists(predictions.top[some]),
        "likelihood": predictions.likelihood[some],
        "nearest": pa.nulls(len(some), pa.int64()) if nearest is None else nearest,
        "unknown": predictions.unknown[some],
    }
    return pa.table(columns, SCORES)


def evaluate_scores(
    scores: pa.Table,
    labels: Sequence[str],
    most_frequent: str,
    identical: Mapping[str | None, int] | None,
) -> list[Evaluation]:
    """Evaluate each side of the split by itself; images of no side are one, too.

    Args:
        scores: a table of :data:`SCORES`, in any order.
        labels: of the classifier.
        most_frequent: the label of most training images.
        identical: how many images of each side are byte for byte training images; None if that is
            not known.

    Returns:
        An evaluation of each side whose images have a label that the classifier knows, by name.
    """
    found = []
    for side in sorted(set(scores["split"].to_pylist()), key=lambda side: side or ""):
        own = pc.is_null(scores["split"]) if side is None else pc.equal(scores["split"], side)
        rows = scores.filter(own).sort_by("path").combine_chunks()
        truth = rows["label"].to_pylist()
        if not set(truth) & set(labels):
            continue
        nearest = rows["nearest"]
        found.append(
            evaluate(
                scheme_of(side),
                labels,
                truth,
                rows["predicted"].to_numpy(),
                rows["confidence"].to_numpy(),
                np.array(rows["top"].to_pylist(), np.int64),
                rows["likelihood"].to_numpy(),
                most_frequent=most_frequent,
                unknown=rows["unknown"].to_numpy(),
                nearest=None if nearest.null_count else nearest.to_numpy(),
                identical=None if identical is None else identical.get(side, 0),
            )
        )
    return found


def scheme_of(side: str | None) -> str:
    """What an evaluation of one side of the split is called."""
    return "images given" if side is None else f"split: {side}"
