"""The axes along which a discriminant analysis separates its labels best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.classify.model import Array, Classifier, softmax
from fruits.classify.transforms import transform_features
from fruits.reduction.blas import one_blas_thread
from fruits.reduction.transform import rowwise_product

_AXES = 2
"""The number of axes of a map."""


@dataclass(frozen=True, eq=False)
class Axes:
    """The leading discriminant axes of a classifier with c labels.

    Let f be the transformed features. The coordinates are `(f - mean) @ weights`: within a label,
    they have a variance of about 1 and do not correlate.

    Attributes:
        transform: The transform of the features.
        mean: (d,) float64, the mean that is subtracted.
        weights: (d, k) float64, the axes, with k at most c - 1.
        shares: (k,) float64, the share of each axis in the variance between the labels.
    """

    transform: str
    mean: Array
    weights: Array
    shares: Array

    def coordinates(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """(n, k) coordinates of (n, d) untransformed features."""
        f = transform_features(features, self.transform)
        return rowwise_product(f, self.weights, shift=self.mean).astype(np.float32)


@one_blas_thread()
def discriminant_axes(classifier: Classifier) -> Axes:
    """The axes of a classifier, exact for the kind "lda".

    They are the principal axes of the whitened means, weighted by the shares of their labels
    (Hastie, Tibshirani, Friedman, 4.3.3): the eigenvectors of the scatter between labels with
    respect to the shrunk scatter within labels.

    Args:
        classifier: its ``whitening`` and ``centres`` are used. The kind "softmax" has them, too;
            there, all labels have the same weight.
    """
    weights = _priors(classifier)
    centred = classifier.centres - weights @ classifier.centres
    _, scale, rows = np.linalg.svd(np.sqrt(weights)[:, None] * centred, full_matrices=False)
    count = min(_AXES, len(classifier.labels) - 1)
    axes = classifier.whitening @ rows[:count].T
    # The sign is arbitrary: the largest weight becomes positive, so that all runs draw one map.
    largest = np.abs(axes).argmax(axis=0)
    axes *= np.where(axes[largest, np.arange(count)] < 0, -1, 1)
    shares = scale**2 / max(float((scale**2).sum()), np.finfo(np.float64).tiny)
    return Axes(classifier.transform, classifier.mean, axes, shares[:count])


def _priors(classifier: Classifier) -> Array:
    """(c,) the share of each label in the training images, from the intercepts of an LDA."""
    c = len(classifier.labels)
    if classifier.kind != "lda":
        return np.full(c, 1 / c)
    # Uses the means, because coefficients and distances may have different shrinkages.
    solve = np.linalg.solve if classifier.distance_shrinkage > 0 else _least_squares
    means = classifier.mean + solve(classifier.whitening.T, classifier.centres.T).T
    logs = classifier.intercept + 0.5 * (means * classifier.coefficients).sum(axis=1)
    shares: Array = softmax(logs[None])[0]
    return shares


def _least_squares(matrix: Array, columns: Array) -> Array:
    """Solves a system whose matrix may be singular, as it is without shrinkage."""
    return np.asarray(np.linalg.lstsq(matrix, columns, rcond=None)[0], np.float64)
