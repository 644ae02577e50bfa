"""Linear discriminant analysis from moments, with a shrunk covariance.

All labels share one covariance, that of the images around the means of their labels: W / n with
W = S - sum over labels of n_c (m_c - m)(m_c - m)^T, where S is the scatter of all images. Shrunk by
s, it is (1 - s) W / n + s trace(W / n) / d I. This is what scikit-learn's
`LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s)` uses, which weights classes by their shares
of the images. One eigendecomposition of W is enough for every s. See Hastie, Tibshirani and
Friedman, "The Elements of Statistical Learning", 4.3; and Hayes and Kanan, "Lifelong Machine
Learning with Deep Streaming Linear Discriminant Analysis", CVPR Workshops 2020, for moments that
grow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fruits.classify.blocks import row_blocks
from fruits.classify.model import Array, Classifier, Ints, nearest_mean
from fruits.classify.transforms import transform_features
from fruits.errors import InputError
from fruits.reduction.blas import one_blas_thread
from fruits.reduction.fit import RANK_TOLERANCE
from fruits.reduction.transform import rowwise_product

SHRINKAGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.97)
"""The values that a cross-validation tries."""

_SPARE = 16
"""The number of vectors in addition to the rank, to find the space that a matrix spans."""


class LabelTotal(Protocol):
    """The number of rows of a label, and the sum of their features."""

    @property
    def count(self) -> int:
        """The number of rows of the label."""

    def sum(self) -> Array:
        """(d,) float64, the sum of their features."""


class Measured(Protocol):
    """The input of a discriminant analysis: exact moments, or moments of rows in memory."""

    @property
    def count(self) -> int:
        """n, the number of rows."""

    @property
    def labels(self) -> Mapping[str | None, LabelTotal]:
        """Count and sum of the rows of each label, sorted by label."""

    @property
    def mean(self) -> Array:
        """(d,) float64, the mean of all rows."""

    @property
    def scatter(self) -> Array:
        """(d, d) float64: the sum over the rows of (x - mean)(x - mean)^T."""

    def subtract(self, other: Any) -> Measured:
        """The moments of these rows without the rows of another one of the same kind."""


@dataclass(frozen=True, eq=False)
class Discriminant:
    """A fitted linear discriminant analysis, before a shrinkage is chosen.

    Attributes:
        labels: The c labels, sorted.
        counts: (c,) int64, the number of images of each label.
        means: (c, d) float64, the mean features of each label.
        mean: (d,) float64, the mean of all features.
        variances: (r,) float64, the eigenvalues of the covariance within labels. With fewer images
            than features, r is less than d, and the other eigenvalues are 0.
        axes: (d, r) float64, the eigenvectors, in columns.
    """

    labels: tuple[str, ...]
    counts: Ints
    means: Array
    mean: Array
    variances: Array
    axes: Array

    @classmethod
    @one_blas_thread()
    def of(cls, moments: Measured) -> Discriminant:
        """Fits to the moments of images that all have a label.

        A label with one image has a mean, but does not contribute to the covariance. If all labels
        have one image, the covariance is a multiple of the identity, so the nearest mean decides.
        For 1,280 features, it needs a second and five (d, d) matrices.

        Raises:
            InputError: there are fewer than two labels, or all images have the same features.
        """
        labels = _labels_of(moments)
        counts, means = counts_and_means(moments)
        count, mean = moments.count, moments.mean
        between = (means - mean) * np.sqrt(counts / count)[:, np.newaxis]
        covariance = moments.scatter / count
        total = float(np.trace(covariance))
        if total == 0:
            raise InputError(
                f"classifier: wanted images that differ; got {count} with the same features: "
                "add others, or set classifier to none"
            )
        covariance -= between.T @ between
        if float(np.trace(covariance)) <= RANK_TOLERANCE * total or count == len(labels):
            variances, axes = np.full(mean.size, total / mean.size), np.eye(mean.size)
        else:
            variances, axes = _eigen(covariance, count - len(labels))
        return cls(labels, counts, means, mean, variances, axes)

    @property
    def most_frequent(self) -> str:
        """The label with the most images; the first one if several are equal."""
        return self.labels[int(self.counts.argmax())]

    @property
    def prior(self) -> Array:
        """(c,) float64, the logarithms of the shares of the labels."""
        prior: Array = np.log(self.counts / self.counts.sum())
        return prior

    def precisions(self, shrinkage: float) -> tuple[Array, float]:
        """Eigenvalues of the inverse of the shrunk covariance: (r,) float64, and all others."""
        average = self.variances.sum() / self.mean.size
        shrunk = (1 - shrinkage) * self.variances + shrinkage * average
        # Without shrinkage, directions with less variance are ignored.
        least = RANK_TOLERANCE * shrunk.max()
        inverse: Array = np.divide(1, shrunk, out=np.zeros_like(shrunk), where=shrunk > least)
        rest = shrinkage * average
        return inverse, 1 / rest if rest > least else 0.0

    @one_blas_thread()
    def classifier(
        self,
        shrinkage: float,
        transform: str = "none",
        temperature: float = 1.0,
        threshold: float = math.inf,
        distance_shrinkage: float | None = None,
    ) -> Classifier:
        """The classifier with a shrinkage.

        Args:
            shrinkage: 0 to 1; with 0, directions without variance within labels are ignored.
            transform: the transform of the features that were measured.
            temperature: see `fruits.classify.calibrate`.
            threshold: the distance above which an image is unknown; see there.
            distance_shrinkage: the shrinkage for the distances, 0 to 1; by default `shrinkage`.
        """
        precisions, rest = self.precisions(shrinkage)
        coefficients = ((self.means @ self.axes) * (precisions - rest)) @ self.axes.T
        coefficients += rest * self.means
        if distance_shrinkage is None:
            distance_shrinkage = shrinkage
        whitening = self.whitening(distance_shrinkage)
        return Classifier(
            kind="lda",
            labels=self.labels,
            transform=transform,
            shrinkage=shrinkage,
            distance_shrinkage=distance_shrinkage,
            coefficients=coefficients,
            intercept=self.prior - 0.5 * (self.means * coefficients).sum(axis=1),
            temperature=temperature,
            mean=self.mean,
            whitening=whitening,
            centres=(self.means - self.mean) @ whitening,
            threshold=threshold,
        )

    def whitening(self, shrinkage: float) -> Array:
        """(d, d) float64: transforms the shrunk covariance into the identity."""
        precisions, rest = self.precisions(shrinkage)
        roots = np.sqrt(precisions)
        if self.variances.size == self.mean.size:
            whitening = self.axes * roots
        else:
            whitening = (self.axes * (roots - math.sqrt(rest))) @ self.axes.T
            whitening += math.sqrt(rest) * np.eye(self.mean.size)
        return whitening

    def scores(
        self, features: NDArray[np.floating[Any]], transform: str, shrinkages: tuple[float, ...]
    ) -> Iterator[tuple[Array, Array]]:
        """Scores images with each shrinkage.

        Yields:
            (n, c) float64 log likelihoods, up to a constant for each image: with `prior`, they are
            the logits. And (n,) float64 lengths: a length minus twice the likelihood is the squared
            distance to the mean of the label. The caller may change both.
        """
        f, centred = transform_features(features, transform), self.means - self.mean
        z = rowwise_product(f, self.axes, shift=self.mean)
        products = rowwise_product(f, centred.T, shift=self.mean)
        lengths = (z * z, np.square(f - self.mean).sum(axis=1))
        centres, squares = centred @ self.axes, (centred * centred).sum(axis=1)
        for shrinkage in shrinkages:
            precisions, rest = self.precisions(shrinkage)
            scaled = centres * (precisions - rest)
            constants = 0.5 * ((centres * scaled).sum(axis=1) + rest * squares)
            likelihoods = z @ scaled.T
            for rows in row_blocks(*likelihoods.shape):
                likelihoods[rows] += rest * products[rows]
                likelihoods[rows] -= constants
            yield likelihoods, lengths[0] @ (precisions - rest) + rest * lengths[1]

    def nearest_mean(self, features: NDArray[np.floating[Any]], transform: str = "none") -> Ints:
        """(n,) the indices of the labels with the nearest means, by Euclidean distance."""
        return nearest_mean(transform_features(features, transform), self.means, self.mean)


def _eigen(covariance: Array, rank: int) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of a positive semidefinite matrix, (d, d).

    If its rank is far below d, only the space that it spans is decomposed. The product with random
    vectors from a fixed seed spans this space (Halko, Martinsson and Tropp, "Finding structure with
    randomness", SIAM Review 53, 2011), so only rounding errors are lost.

    Args:
        covariance: (d, d) float64.
        rank: the rank of the matrix, or an upper bound.

    Returns:
        (r,) and (d, r) float64, where r is d, or slightly more than the rank.
    """
    size = len(covariance)
    if rank + _SPARE >= size // 2:
        variances, axes = np.linalg.eigh(covariance)
        return variances.clip(min=0), axes
    drawn = np.random.default_rng(0).normal(size=(size, rank + _SPARE))
    space, _ = np.linalg.qr(covariance @ drawn)
    # Once more, because rounding errors of the largest variances hide the smallest ones.
    space, _ = np.linalg.qr(covariance @ space)
    variances, axes = np.linalg.eigh(space.T @ covariance @ space)
    return variances.clip(min=0), space @ axes


def counts_and_means(moments: Measured) -> tuple[Ints, Array]:
    """(c,) int64, the number of rows of each of the c labels, and (c, d) float64, their means."""
    sums = [sums for label, sums in moments.labels.items() if label is not None]
    counts = np.array([one.count for one in sums], np.int64)
    means = np.stack([one.sum() for one in sums])
    means /= counts[:, np.newaxis]
    return counts, means


def _labels_of(moments: Measured) -> tuple[str, ...]:
    labels = tuple(label for label in moments.labels if label is not None)
    if len(labels) < len(moments.labels):
        raise ValueError("wanted moments of images that all have a label")
    if len(labels) < 2:
        found = f"only {labels[0]!r}" if labels else "none"
        raise InputError(
            f"label: wanted at least two labels for a classifier; got {found}: "
            "choose another label rule, or set classifier to none"
        )
    return labels
