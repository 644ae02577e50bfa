"""Linear discriminant analysis from moments, with a shrunk covariance.

All labels share one covariance: that of the images around the means of their labels, W / n with
W = S - sum over labels of n_c (m_c - m)(m_c - m)^T, where S is the scatter of all images. Shrunk by
s, it is (1 - s) W / n + s trace(W / n) / d I: what scikit-learn's `LinearDiscriminantAnalysis(
solver="lsqr", shrinkage=s)` uses, since its classes are weighted by their shares of the images.
One eigendecomposition of W serves every s. See Hastie, Tibshirani and Friedman, "The Elements of
Statistical Learning", 4.3; and Hayes and Kanan, "Lifelong Machine Learning with Deep Streaming
Linear Discriminant Analysis", CVPR Workshops 2020, for moments that grow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fruits.classify.model import Array, Classifier, Ints, mapped, nearest_mean
from fruits.errors import InputError
from fruits.reduction.transform import rowwise_product

SHRINKAGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Values among which a cross-validation chooses."""

_SPARE = 16
"""Vectors beyond the rank that a space is found with."""

_RANK_TOLERANCE = 1e-12
"""Without shrinkage, directions with less than this share of the largest variance do not count."""


class Total(Protocol):
    """A sum of features, (d,)."""

    def to_float(self) -> Array:
        """The sum in float64."""


class LabelTotal(Protocol):
    """How many rows a label has, and the sum of their features."""

    @property
    def count(self) -> int:
        """Rows of the label."""

    @property
    def total(self) -> Total:
        """The sum of their features."""


class Measured(Protocol):
    """What a discriminant analysis is learned from: exact moments, or those of rows in memory."""

    @property
    def count(self) -> int:
        """n, the number of rows."""

    @property
    def labels(self) -> Mapping[str | None, LabelTotal]:
        """Of each label, sorted: count and sum of its rows."""

    @property
    def mean(self) -> Array:
        """(d,) float64, the mean of all rows."""

    @property
    def scatter(self) -> Array:
        """(d, d) float64: the sum over the rows of (x - mean)(x - mean)^T."""

    def subtract(self, other: Any) -> Measured:
        """The moments of the rows without those of another one of the same kind."""


@dataclass(frozen=True, eq=False)
class Discriminant:
    """What a linear discriminant analysis learns, for every shrinkage.

    Attributes:
        labels: the c labels, sorted.
        counts: (c,) int64, images of each.
        means: (c, d) float64, of each label's features.
        mean: (d,) float64, of all features.
        variances: (r,) float64, the eigenvalues of the covariance within labels. With fewer images
            than features, r is less than d, and all others are 0.
        axes: (d, r) float64, its eigenvectors, in columns.
    """

    labels: tuple[str, ...]
    counts: Ints
    means: Array
    mean: Array
    variances: Array
    axes: Array

    @classmethod
    def of(cls, moments: Measured) -> Discriminant:
        """Learn from the moments of images that all have a label.

        Labels of one image are learned: their mean counts, and they say nothing of the covariance.
        Where all labels have one image, the covariance is a multiple of the identity, so that the
        nearest mean decides. A second and five (d, d) matrices for 1,280 features.

        Raises:
            InputError: there are fewer than two labels, or all images have the same features.
        """
        labels = _labels_of(moments)
        counts = np.array([moments.labels[label].count for label in labels], np.int64)
        means = np.stack([moments.labels[label].total.to_float() for label in labels])
        means /= counts[:, np.newaxis]
        count, mean = moments.count, moments.mean
        between = (means - mean) * np.sqrt(counts / count)[:, np.newaxis]
        covariance = moments.scatter / count
        total = float(np.trace(covariance))
        if total == 0:
            raise InputError(
                f"classifier: wanted images that differ, found {count} with the same features; "
                "add others, or take classifier=none"
            )
        covariance -= between.T @ between
        if float(np.trace(covariance)) <= _RANK_TOLERANCE * total or count == len(labels):
            variances, axes = np.full(mean.size, total / mean.size), np.eye(mean.size)
        else:
            variances, axes = _eigen(covariance, count - len(labels))
        return cls(labels, counts, means, mean, variances, axes)

    @property
    def most_frequent(self) -> str:
        """The label of most images; of equal ones the first."""
        return self.labels[int(self.counts.argmax())]

    def precisions(self, shrinkage: float) -> tuple[Array, float]:
        """Eigenvalues of the inverse of the shrunk covariance: (r,) float64, and all the others."""
        average = self.variances.sum() / self.mean.size
        shrunk = (1 - shrinkage) * self.variances + shrinkage * average
        least = _RANK_TOLERANCE * shrunk.max()
        inverse: Array = np.divide(1, shrunk, out=np.zeros_like(shrunk), where=shrunk > least)
        rest = shrinkage * average
        return inverse, 1 / rest if rest > least else 0.0

    def classifier(
        self,
        shrinkage: float,
        transform: str = "none",
        temperature: float = 1.0,
        threshold: float = math.inf,
    ) -> Classifier:
        """The classifier with one shrinkage.

        Args:
            shrinkage: 0 to 1; with 0, what does not vary within labels is ignored.
            transform: what was done to the features before the moments were taken.
            temperature: see `fruits.classify.calibrate`, as is the next.
            threshold: distance above which an image is unknown.
        """
        precisions, rest = self.precisions(shrinkage)
        coefficients = ((self.means @ self.axes) * (precisions - rest)) @ self.axes.T
        coefficients += rest * self.means
        roots = np.sqrt(precisions)
        if self.variances.size == self.mean.size:
            whitening = self.axes * roots
        else:
            whitening = (self.axes * (roots - math.sqrt(rest))) @ self.axes.T
            whitening += math.sqrt(rest) * np.eye(self.mean.size)
        return Classifier(
            kind="lda",
            labels=self.labels,
            transform=transform,
            shrinkage=shrinkage,
            coefficients=coefficients,
            intercept=np.log(self.counts / self.counts.sum())
            - 0.5 * (self.means * coefficients).sum(axis=1),
            temperature=temperature,
            mean=self.mean,
            whitening=whitening,
            centres=(self.means - self.mean) @ whitening,
            threshold=threshold,
        )

    def logits(
        self, features: NDArray[np.floating[Any]], transform: str, shrinkages: tuple[float, ...]
    ) -> list[Array]:
        """(n, c) float64 for each shrinkage: logits but for a number that all labels share."""
        f, centred = mapped(features, transform), self.means - self.mean
        z = rowwise_product(f, self.axes, shift=self.mean)
        products = rowwise_product(f, centred.T, shift=self.mean)
        centres, squares = centred @ self.axes, (centred * centred).sum(axis=1)
        prior = np.log(self.counts / self.counts.sum())
        result = []
        for shrinkage in shrinkages:
            precisions, rest = self.precisions(shrinkage)
            scaled = centres * (precisions - rest)
            offset = prior - 0.5 * ((centres * scaled).sum(axis=1) + rest * squares)
            result.append(z @ scaled.T + rest * products + offset)
        return result

    def nearest_mean(self, features: NDArray[np.floating[Any]], transform: str = "none") -> Ints:
        """(n,) places of the labels whose means are nearest, without regard to any covariance."""
        return nearest_mean(mapped(features, transform), self.means, self.mean)


def _eigen(covariance: Array, rank: int) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of a positive semidefinite matrix, (d, d).

    Where its rank is far below d, only the space that it spans is decomposed: a product with as
    many vectors, drawn at random from a fixed seed, spans it (Halko, Martinsson and Tropp, "Finding
    structure with randomness", SIAM Review 53, 2011), so nothing but rounding is left out.

    Args:
        covariance: (d, d) float64.
        rank: at least that of the matrix.

    Returns:
        (r,) and (d, r) float64, where r is d or little more than the rank.
    """
    size = len(covariance)
    if rank + _SPARE >= size // 2:
        variances, axes = np.linalg.eigh(covariance)
        return variances.clip(min=0), axes
    drawn = np.random.default_rng(0).normal(size=(size, rank + _SPARE))
    space, _ = np.linalg.qr(covariance @ drawn)
    # Once more, since the smallest variances are lost in the largest ones' rounding.
    space, _ = np.linalg.qr(covariance @ space)
    variances, axes = np.linalg.eigh(space.T @ covariance @ space)
    return variances.clip(min=0), space @ axes


def fit_lda(moments: Measured, shrinkage: float, transform: str = "none") -> Classifier:
    """Fit a classifier, not calibrated, with a shrinkage that is known.

    Args:
        moments: of the features of images that all have a label, after the transform.
        shrinkage: 0 to 1.
        transform: one of `fruits.classify.model.TRANSFORMS`.

    Raises:
        InputError: there are fewer than two labels, or all images have the same features.
    """
    return Discriminant.of(moments).classifier(shrinkage, transform)


def _labels_of(moments: Measured) -> tuple[str, ...]:
    labels = tuple(label for label in moments.labels if label is not None)
    if len(labels) < len(moments.labels):
        raise ValueError("wanted moments of images that all have a label")
    if len(labels) < 2:
        raise InputError(
            "label: wanted two labels at least for a classifier; found "
            f"{f'{labels[0]!r} only' if labels else 'none'}; "
            "choose another label rule, or take classifier=none"
        )
    return labels
