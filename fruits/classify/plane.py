"""The axes in which a discriminant analysis sees most of what tells its labels apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.classify.model import Array, Classifier, mapped, softmax
from fruits.reduction.transform import rowwise_product


@dataclass(frozen=True, eq=False)
class Axes:
    """The leading discriminant axes of a classifier with c labels.

    With f the transformed features, the coordinates are `(f - mean) @ weights`: within a label,
    they have a variance of about 1 and do not correlate.

    Attributes:
        transform: of the features.
        mean: (d,) float64.
        weights: (d, k) float64, k at most c - 1.
        shares: (k,) float64, of each axis in the variance between the labels.
    """

    transform: str
    mean: Array
    weights: Array
    shares: Array

    def coordinates(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """(n, k) of (n, d) features, as the network gives them."""
        f = mapped(features, self.transform)
        return rowwise_product(f, self.weights, shift=self.mean).astype(np.float32)


def discriminant_axes(classifier: Classifier, count: int = 2) -> Axes:
    """The axes of a classifier, exact for the kind "lda".

    They are the principal axes of the labels' whitened means, each with the weight of its label
    (Hastie, Tibshirani, Friedman, 4.3.3): the eigenvectors of the scatter between the labels with
    respect to the shrunk one within them.

    Args:
        classifier: its ``whitening`` and ``centres`` are used; "softmax" has them, too, where all
            labels get the same weight.
        count: how many axes at most.
    """
    weights = _priors(classifier)
    centred = classifier.centres - weights @ classifier.centres
    _, scale, rows = np.linalg.svd(np.sqrt(weights)[:, None] * centred, full_matrices=False)
    count = min(count, len(classifier.labels) - 1)
    axes = classifier.whitening @ rows[:count].T
    # The sign is arbitrary: the largest weight is positive, so that two runs draw the same map.
    largest = np.abs(axes).argmax(axis=0)
    axes *= np.where(axes[largest, np.arange(count)] < 0, -1, 1)
    shares = scale**2 / max(float((scale**2).sum()), np.finfo(np.float64).tiny)
    return Axes(classifier.transform, classifier.mean, axes, shares[:count])


def _priors(classifier: Classifier) -> Array:
    """(c,) the share of each label in the training images, which an LDA's intercepts contain."""
    c = len(classifier.labels)
    if classifier.kind != "lda":
        return np.full(c, 1 / c)
    logs = classifier.intercept + classifier.coefficients @ classifier.mean
    logs += 0.5 * (classifier.centres**2).sum(axis=1)
    shares: Array = softmax(logs[None])[0]
    return shares
