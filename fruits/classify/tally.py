"""Counts the predictions of many images in a stream, with 17 bytes of memory for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.classify.model import TOP, Array, Ints, label_indices
from fruits.sources.row_counts import RowCounts


class Tally:
    """Counts for a comparison of predictions with the true labels.

    Args:
        labels: the c labels of the classifier.

    Attributes:
        labels: The labels of the classifier.
        images: The number of images.
        known: The number of images whose true label is one of them.
        top5: The number of images whose label is among the five most probable.
        unknown: The number of images that are reported as unknown.
        nearest: The number of images whose label has the nearest mean; None if that is unknown.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self.images = 0
        self._names = pa.array(self.labels, pa.string())
        self._pairs = RowCounts("label", "predicted")
        self.known = self.top5 = self.unknown = 0
        self.nearest: int | None = 0
        self._confidence = [np.empty(0)]
        self._likelihood = [np.empty(0)]
        self._right = [np.empty(0, bool)]

    def add(
        self,
        truth: Sequence[str],
        predicted: Ints,
        confidence: Array,
        top: Ints,
        likelihood: Array,
        unknown: NDArray[np.bool_] | None,
        nearest: Ints | None,
    ) -> None:
        """Adds images.

        Args:
            truth: the n true labels; labels that the classifier does not know count as wrong.
            predicted: (n,) the indices of the predicted labels.
            confidence: (n,) float64, their probabilities.
            top: (n, k) the indices of the most probable labels.
            likelihood: (n,) float64, the probabilities of the true labels; NaN for unseen labels.
            unknown: (n,) bool, whether the image is reported as unknown; None if that is not known.
            nearest: (n,) the indices of the labels with the nearest means; None if not known.
        """
        true = label_indices(self.labels, truth)
        self.images += len(truth)
        guesses = self._names.take(pa.array(predicted))
        columns = {"label": pa.array(truth, pa.string()), "predicted": guesses}
        self._pairs.add(pa.table(columns))
        self.known += int((true >= 0).sum())
        self.top5 += int((top[:, :TOP] == true[:, np.newaxis]).any(axis=1).sum())
        self.unknown += 0 if unknown is None else int(unknown.sum())
        if nearest is None or self.nearest is None:
            self.nearest = None
        else:
            self.nearest += int((nearest == true).sum())
        self._confidence.append(confidence)
        self._likelihood.append(likelihood[~np.isnan(likelihood)])
        self._right.append(predicted == true)

    def pairs(self) -> pa.Table:
        """The number of images by true and predicted label: ``label``, ``predicted``, ``images``.

        The rows are sorted by the labels.
        """
        return self._pairs.table().sort_by([("label", "ascending"), ("predicted", "ascending")])

    def confidence(self) -> Array:
        """(n,) float64, the probabilities of the predicted labels."""
        return np.concatenate(self._confidence)

    def right(self) -> NDArray[np.bool_]:
        """(n,) bool, whether the predicted labels are correct."""
        return np.concatenate(self._right)

    def likelihood(self) -> Array:
        """(m,) float64, the probabilities of the true labels, without NaN (unseen labels)."""
        return np.concatenate(self._likelihood)
