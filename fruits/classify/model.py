"""A fitted classifier as plain arrays, which predicts with and without Spark."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.classify.transforms import transform_features
from fruits.errors import InputError
from fruits.features.products import BLOCK_ROWS
from fruits.reduction.transform import rowwise_product

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

CLASSIFIERS = ("lda", "softmax", "none")
"""Linear discriminant analysis, a softmax regression fitted by Spark, or no classifier."""

TOP = 5
"""The number of labels that a prediction ranks."""

_VERSION = 1

_CHANCES = 1 << 22
"""The number of probabilities that are in memory at once."""


class OldClassifier(ValueError):
    """The bytes of a classifier are of an earlier version of this package."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of a classifier for n images.

    Attributes:
        predicted: (n,) int64, the index of the most probable label.
        confidence: (n,) float64, the probability of the predicted label.
        top: (n, k) int64, the indices of the k = min(5, c) most probable labels, descending.
        top_probability: (n, k) float64, the probabilities of these labels.
        distance: (n,) float64, the Mahalanobis distance to the nearest label's mean.
        unknown: (n,) bool, whether the distance is above the threshold.
        likelihood: (n,) float64, the probability of the true label; NaN if it was not given or is
            not one of the labels.
    """

    predicted: Ints
    confidence: Array
    top: Ints
    top_probability: Array
    distance: Array
    unknown: NDArray[np.bool_]
    likelihood: Array


def predictions_of(chances: Array, distance: Array, threshold: float, truth: Ints) -> Predictions:
    """The predictions that follow from the scores of n images.

    Args:
        chances: (n, c) float64, the probabilities of the labels.
        distance: (n,) float64, the distance to the nearest label's mean.
        threshold: the distance above which an image is unknown.
        truth: (n,) int64, the indices of the true labels; -1 if there is none.
    """
    top = top_indices(chances, min(TOP, chances.shape[1]))
    probabilities = np.take_along_axis(chances, top, axis=1)
    likelihood = chances[np.arange(len(truth)), truth]
    return Predictions(
        predicted=top[:, 0],
        confidence=probabilities[:, 0],
        top=top,
        top_probability=probabilities,
        distance=distance,
        unknown=distance > threshold,
        likelihood=np.where(truth >= 0, likelihood, np.nan),
    )


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The predictions for the images of all parts, in order."""
    return Predictions(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Predictions)
        }
    )


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear classifier with c labels, and a distance that detects unknown images.

    Let f be the transformed features. The probabilities are the softmax of
    `(f @ coefficients.T + intercept) / temperature`. The distance to a label is the distance of
    `(f - mean) @ whitening` to its row of `centres`.

    Attributes:
        kind: The kind, "lda" or "softmax".
        labels: The c labels, sorted.
        transform: The transform of the features, one of `TRANSFORMS`.
        shrinkage: The shrinkage of the covariance, 0 to 1; 1 is a multiple of the identity.
        distance_shrinkage: The shrinkage of the covariance for distances, 0 to 1.
        coefficients: (c, d) float64, the coefficients of the logits.
        intercept: (c,) float64, the intercepts of the logits.
        temperature: The temperature; above 1 if the classifier is overconfident without it.
        mean: (d,) float64, the mean of the training images.
        whitening: (d, d) float64, transforms the shrunk covariance into the identity.
        centres: (c, d) float64, the whitened means of the labels.
        threshold: The distance above which an image is unknown; infinite if it was not fitted.
    """

    kind: str
    labels: tuple[str, ...]
    transform: str
    shrinkage: float
    distance_shrinkage: float
    coefficients: Array
    intercept: Array
    temperature: float
    mean: Array
    whitening: Array
    centres: Array
    threshold: float

    @property
    def described(self) -> dict[str, Any]:
        """The description for the manifest of a predictor, as JSON; null means no threshold."""
        threshold = self.threshold if np.isfinite(self.threshold) else None
        return {
            "labels": list(self.labels),
            "classifier": self.kind,
            "temperature": self.temperature,
            "threshold": threshold,
        }

    def logits(self, features: NDArray[np.floating[Any]]) -> Array:
        """(n, c) float64, before the temperature. A row does not depend on other rows."""
        self._check(features)
        f = transform_features(features, self.transform)
        return rowwise_product(f, self.coefficients.T) + self.intercept

    def probabilities(self, features: NDArray[np.floating[Any]]) -> Array:
        """(n, c) float64; the sum of each row is 1."""
        return softmax(self.logits(features) / self.temperature)

    def distances(self, features: NDArray[np.floating[Any]]) -> Array:
        """(n,) float64: the Mahalanobis distance to the nearest label's mean."""
        self._check(features)
        f = transform_features(features, self.transform)
        z = rowwise_product(f, self.whitening, shift=self.mean)
        products = rowwise_product(z, self.centres.T)
        products *= -2
        products += (self.centres * self.centres).sum(axis=1)
        distances: Array = np.sqrt(np.maximum(products.min(axis=1) + (z * z).sum(axis=1), 0))
        return distances

    def predict(
        self, features: NDArray[np.floating[Any]], truth: Ints | None = None
    ) -> Predictions:
        """Predicts n images; the bits of a result do not depend on the other images.

        Args:
            features: (n, d) float32, the untransformed features.
            truth: (n,) the indices of the true labels, -1 if there is none; for the likelihood.

        Raises:
            InputError: the features have another width.
        """
        places = np.full(len(features), -1, np.int64) if truth is None else truth
        # At least one block, so that the arrays have the correct types also without images.
        size = max(1, min(BLOCK_ROWS, _CHANCES // len(self.labels)))
        blocks = [slice(start, start + size) for start in range(0, max(len(features), 1), size)]
        parts = [
            predictions_of(
                self.probabilities(features[block]),
                self.distances(features[block]),
                self.threshold,
                places[block],
            )
            for block in blocks
        ]
        return joined(parts)

    def label_indices(self, labels: list[str | None]) -> Ints:
        """The indices of some labels; -1 for None and for labels that the classifier lacks."""
        return label_indices(self.labels, labels)

    def to_bytes(self) -> bytes:
        """Packs into a file of NumPy arrays (npz) without pickle; equal ones give equal bytes."""
        arrays: dict[str, NDArray[Any]] = {}
        plain: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            (arrays if isinstance(value, np.ndarray) else plain)[field.name] = value
        text = json.dumps({"version": _VERSION, **plain}, ensure_ascii=False)
        buffer = io.BytesIO()
        arrays["description"] = np.frombuffer(text.encode(), np.uint8)
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, packed: bytes) -> Classifier:
        """Unpacks what `to_bytes` made; the caller must verify its SHA-256.

        Raises:
            OldClassifier: an earlier version of this package made the bytes.
            ValueError: the bytes are damaged, or something else.
        """
        try:
            with np.load(io.BytesIO(packed), allow_pickle=False) as file:
                plain = json.loads(file["description"].tobytes())
                arrays = {name: file[name] for name in file.files if name != "description"}
        except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"wanted a classifier's file; got another: {error}") from None
        version = plain.pop("version")
        if version != _VERSION or {*plain, *arrays} != {field.name for field in fields(cls)}:
            raise OldClassifier("wanted a classifier of this version; got that of an earlier one")
        return cls(**plain | {"labels": tuple(plain["labels"])}, **arrays)

    def _check(self, features: NDArray[np.floating[Any]]) -> None:
        if features.shape[1] != self.mean.size:
            raise InputError(
                f"wanted rows of {self.mean.size} features; got {features.shape[1]}: "
                "extract them with the network of the classifier"
            )


def label_indices(labels: Sequence[str], wanted: Sequence[str | None]) -> Ints:
    """The indices of the wanted labels among `labels`; -1 for None and for missing labels."""
    place: dict[str | None, int] = {label: number for number, label in enumerate(labels)}
    return np.array([place.get(label, -1) for label in wanted], np.int64)


def nearest_mean(features: NDArray[np.floating[Any]], means: Array, centre: Array) -> Ints:
    """(n,) the indices of the nearest means, by Euclidean distance.

    Args:
        features: (n, d), the transformed features.
        means: (c, d) float64, the means of the labels.
        centre: (d,) float64, a point near the means that is subtracted to reduce rounding errors.
    """
    centred = means - centre
    products = rowwise_product(features, centred.T, shift=centre)
    nearest: Ints = np.argmin((centred**2).sum(axis=1) - 2 * products, axis=1)
    return nearest


def softmax(logits: Array) -> Array:
    """(n, c) probabilities of each row's logits."""
    shifted: Array = logits - logits.max(axis=1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=1, keepdims=True)
    return shifted


def top_indices(chances: Array, count: int) -> Ints:
    """(n, count) the indices of the largest values of each row, descending; stable if equal.

    Args:
        chances: (n, c) float64, finite.
        count: at most c.
    """
    left, rows = chances.copy(), np.arange(len(chances))
    best = np.empty((len(chances), count), np.int64)
    for rank in range(count):
        # The first of several equal values. For a few ranks, this is faster than a sort of c
        # values, and unlike a partition, it is stable.
        best[:, rank] = left.argmax(axis=1)
        left[rows, best[:, rank]] = -math.inf
    return best
