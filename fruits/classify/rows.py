"""Predictions as Arrow tables: the rows of ``predictions/``, and the input of evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.classify.evaluate import Evaluation, evaluation_of
from fruits.classify.model import Array, Classifier, Ints, Predictions, nearest_mean
from fruits.classify.tally import Tally
from fruits.classify.transforms import transform_features
from fruits.features.rows import lists, matrix

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
"""Predictions of labelled images, as indices of the classifier's labels."""


@dataclass(frozen=True, eq=False)
class TablePredictor:
    """Predicts tables of images, and selects the images to evaluate.

    Attributes:
        classifier: The classifier.
        means: (c, d) float64, the mean transformed features of each label, to compare with the
            nearest mean; None if they are unknown.
        scored: The sides of the split whose labelled images are evaluated; None for all images.
    """

    classifier: Classifier
    means: Array | None
    scored: frozenset[str] | None

    def tables(self, rows: pa.Table, features: NDArray[np.float32]) -> tuple[pa.Table, pa.Table]:
        """Predicts images.

        Args:
            rows: n rows with the columns path, label and split.
            features: (n, d), the features of the same images.

        Returns:
            A table of :data:`PREDICTIONS`, and one of :data:`SCORES` for the images to evaluate.
        """
        truth = self.classifier.label_indices(rows["label"].to_pylist())
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
        """(n,) the indices of the labels with the nearest means, by Euclidean distance."""
        if self.means is None:
            return None
        f = transform_features(features, self.classifier.transform)
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


def evaluate_sides(
    batches: Iterable[pa.RecordBatch],
    labels: Sequence[str],
    most_frequent: str,
    identical: Mapping[str | None, int] | None,
    counts: Ints | None = None,
) -> list[Evaluation]:
    """Evaluates each side of the split; images on no side count as another side.

    Args:
        batches: batches with the columns of :data:`SCORES` (``path`` is optional), sorted by path.
        labels: the labels of the classifier.
        most_frequent: the label with the most training images.
        identical: the number of images of each side that are byte-identical to training images;
            None if that is unknown.
        counts: (c,) the number of training images of each label; None if that is unknown.

    Returns:
        An evaluation of each side with at least one label that the classifier knows, sorted by
        side.
    """
    tallies: dict[str | None, Tally] = {}
    for batch in batches:
        for side in pc.unique(batch["split"]).to_pylist():
            own = pc.is_null(batch["split"]) if side is None else pc.equal(batch["split"], side)
            _add(tallies.setdefault(side, Tally(labels)), batch.filter(own))
    return [
        evaluation_of(
            tallies[side],
            scheme_of(side),
            most_frequent=most_frequent,
            identical=None if identical is None else identical.get(side, 0),
            counts=counts,
        )
        for side in sorted(tallies, key=lambda side: side or "")
        if tallies[side].known
    ]


def _add(tally: Tally, rows: pa.RecordBatch) -> None:
    nearest = rows["nearest"]
    tally.add(
        rows["label"].to_pylist(),
        rows["predicted"].to_numpy(),
        rows["confidence"].to_numpy(),
        matrix(rows["top"]).astype(np.int64, copy=False),
        rows["likelihood"].to_numpy(),
        rows["unknown"].to_numpy(zero_copy_only=False),
        None if nearest.null_count else nearest.to_numpy(),
    )


def scheme_of(side: str | None) -> str:
    """The name of an evaluation of one side of the split."""
    return "images given" if side is None else f"split: {side}"


def side_of_scheme(scheme: str) -> str | None:
    """The side of the split of an evaluation: the inverse of :func:`scheme_of`."""
    return None if scheme == scheme_of(None) else scheme.removeprefix("split: ")
