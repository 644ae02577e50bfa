"""A fitted classifier as plain arrays: what it says of features, in Spark and without."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.errors import InputError
from fruits.features.products import BLOCK_ROWS
from fruits.reduction.transform import rowwise_product

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

TRANSFORMS = ("none", "sqrt")
"""What is done to each feature before the classifier: nothing, or the signed square root."""

CLASSIFIERS = ("lda", "softmax", "none")
"""Linear discriminant analysis, a softmax regression fitted by Spark, or no classifier."""

TOP = 5
"""Labels that a prediction ranks."""

_VERSION = 1


def mapped(features: NDArray[np.floating[Any]], transform: str) -> NDArray[np.floating[Any]]:
    """Apply one of `TRANSFORMS` to (n, d) features, in their own type, rounded correctly."""
    if transform == "none":
        return features
    if transform == "sqrt":
        roots: NDArray[np.floating[Any]] = np.copysign(np.sqrt(np.abs(features)), features)
        return roots
    raise ValueError(f"transform: wanted one of {', '.join(TRANSFORMS)}; got {transform!r}")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier says of n images.

    Attributes:
        predicted: (n,) int64, the place of the most probable label.
        confidence: (n,) float64, its probability.
        top: (n, k) int64, the k = min(5, c) most probable labels, the best first.
        top_probability: (n, k) float64.
        distance: (n,) float64, the Mahalanobis distance to the nearest label's mean.
        unknown: (n,) bool: the distance is above the threshold.
        likelihood: (n,) float64, the probability of the true label where it was given and is one of
            the labels, else NaN.
    """

    predicted: Ints
    confidence: Array
    top: Ints
    top_probability: Array
    distance: Array
    unknown: NDArray[np.bool_]
    likelihood: Array


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear classifier of c labels, and a distance by which unknown images are found.

    With f the transformed features: probabilities are the softmax of
    `(f @ coefficients.T + intercept) / temperature`; the distance to a label is that of
    `(f - mean) @ whitening` to its row of `centres`.

    Attributes:
        kind: "lda" or "softmax".
        labels: the c labels, sorted.
        transform: one of `TRANSFORMS`.
        shrinkage: of the covariance, 0 to 1; 1 is a multiple of the identity.
        coefficients: (c, d) float64.
        intercept: (c,) float64.
        temperature: above 1 where the classifier would be too sure of itself.
        mean: (d,) float64, of the training images.
        whitening: (d, d) float64: takes the shrunk covariance to the identity.
        centres: (c, d) float64, the means of the labels, whitened.
        threshold: the distance above which an image is unknown; infinite if none was learned.
    """

    kind: str
    labels: tuple[str, ...]
    transform: str
    shrinkage: float
    coefficients: Array
    intercept: Array
    temperature: float
    mean: Array
    whitening: Array
    centres: Array
    threshold: float

    def logits(self, features: NDArray[np.floating[Any]]) -> Array:
        """(n, c) float64, before the temperature. A row does not depend on the others."""
        self._check(features)
        f = mapped(features, self.transform)
        return rowwise_product(f, self.coefficients.T) + self.intercept

    def probabilities(self, features: NDArray[np.floating[Any]]) -> Array:
        """(n, c) float64, each row with a sum of 1."""
        return softmax(self.logits(features) / self.temperature)

    def distances(self, features: NDArray[np.floating[Any]]) -> Array:
        """(n,) float64: the Mahalanobis distance to the nearest label's mean."""
        self._check(features)
        f = mapped(features, self.transform)
        z = rowwise_product(f, self.whitening, shift=self.mean)
        products = rowwise_product(z, self.centres.T)
        products *= -2
        products += (self.centres * self.centres).sum(axis=1)
        distances: Array = np.sqrt(np.maximum(products.min(axis=1) + (z * z).sum(axis=1), 0))
        return distances

    def predict(
        self, features: NDArray[np.floating[Any]], truth: Ints | None = None
    ) -> Predictions:
        """Predict n images; the same bits whatever other images are predicted with one.

        Args:
            features: (n, d) float32, as the network gives them.
            truth: (n,) places of the true labels, -1 where there is none; for the likelihood.

        Raises:
            InputError: the features are of another width.
        """
        places = np.full(len(features), -1, np.int64) if truth is None else truth
        # At least one block, so that no images make arrays of the right types, too.
        starts = range(0, max(len(features), 1), BLOCK_ROWS)
        blocks = [slice(start, start + BLOCK_ROWS) for start in starts]
        parts = [self._predict(features[block], places[block]) for block in blocks]
        return Predictions(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(Predictions)
            }
        )

    def _predict(self, features: NDArray[np.floating[Any]], truth: Ints) -> Predictions:
        chances = self.probabilities(features)
        best = ranked(chances, min(TOP, len(self.labels)))
        probabilities = np.take_along_axis(chances, best, axis=1)
        distance = self.distances(features)
        likelihood = np.full(len(chances), np.nan)
        known = np.flatnonzero(truth >= 0)
        likelihood[known] = chances[known, truth[known]]
        return Predictions(
            predicted=best[:, 0],
            confidence=probabilities[:, 0],
            top=best,
            top_probability=probabilities,
            distance=distance,
            unknown=distance > self.threshold,
            likelihood=likelihood,
        )

    def places(self, labels: list[str | None]) -> Ints:
        """The places of some labels among those of the classifier; -1 for others and None."""
        return places_of(self.labels, labels)

    def to_bytes(self) -> bytes:
        """Pack into a file of NumPy arrays (npz) without pickle; equal ones into equal bytes."""
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
        """Unpack what `to_bytes` made; the caller checks that it is undamaged (SHA-256).

        Raises:
            ValueError: it is of another version, damaged, or something else.
        """
        try:
            with np.load(io.BytesIO(packed), allow_pickle=False) as file:
                plain = json.loads(file["description"].tobytes())
                arrays = {name: file[name] for name in file.files if name != "description"}
        except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"wanted a classifier's file, found another: {error}") from None
        if (version := plain.pop("version")) != _VERSION:
            raise ValueError(f"wanted a classifier of version {_VERSION}, found {version}")
        return cls(**plain | {"labels": tuple(plain["labels"])}, **arrays)

    def _check(self, features: NDArray[np.floating[Any]]) -> None:
        if features.shape[1] != self.mean.size:
            raise InputError(
                f"wanted rows of {self.mean.size} features, found {features.shape[1]}; "
                "extract them with the network of the classifier"
            )


def places_of(labels: Sequence[str], wanted: Sequence[str | None]) -> Ints:
    """The places of the wanted labels among some; -1 for others and None."""
    place: dict[str | None, int] = {label: number for number, label in enumerate(labels)}
    return np.array([place.get(label, -1) for label in wanted], np.int64)


def nearest_mean(features: NDArray[np.floating[Any]], means: Array, centre: Array) -> Ints:
    """(n,) places of the means that are nearest, without regard to any covariance.

    Args:
        features: (n, d), after the transform.
        means: (c, d) float64, of the labels.
        centre: (d,) float64, taken off both; near the means, so that little is lost by rounding.
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


def ranked(chances: Array, count: int) -> Ints:
    """(n, count) places of the largest of each row, the largest first; of equal ones the first."""
    order: Ints = np.argsort(-chances, axis=1, kind="stable")[:, :count]
    return order
