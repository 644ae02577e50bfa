"""Gaussian distributions of images, and the distance between two of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fruits.classify.model import Array
from fruits.features.moments import Moments


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The mean and the covariance of n images in k components.

    Attributes:
        count: The number n of images.
        mean: The mean, (k,) float64.
        covariance: The sample covariance (divided by n - 1), (k, k) float64.
    """

    count: int
    mean: Array
    covariance: Array

    @classmethod
    def of(cls, moments: Moments, weights: Array, offset: Array) -> Gaussian:
        """The Gaussian of the components of images, from the moments of their features.

        Args:
            moments: The moments of the features.
            weights: The (d, k) float64 weights: components = features @ weights + offset.
            offset: The (k,) float64 offset.
        """
        covariance = weights.T @ moments.scatter @ weights / max(moments.count - 1, 1)
        return cls(moments.count, moments.mean @ weights + offset, covariance)

    @property
    def spread(self) -> float:
        """The root of the mean squared distance of the images from their mean."""
        return math.sqrt(float(np.trace(self.covariance)))


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """The Fréchet distance of two Gaussians, in the units of the components.

    Its square is |m - n|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), for means m, n and covariances A,
    B (Dowson and Landau, "The Fréchet distance between multivariate normal distributions", Journal
    of Multivariate Analysis 12, 1982). Heusel and others, "GANs trained by a two time-scale update
    rule converge to a local Nash equilibrium" (NeurIPS 2017), call that square FID. The trace of
    the root is the sum of the roots of the eigenvalues: two decompositions, no root of a matrix.
    """
    variances, axes = np.linalg.eigh(one.covariance)
    root = axes * np.sqrt(variances.clip(min=0))
    inner = np.linalg.eigvalsh(root.T @ other.covariance @ root)
    shift = one.mean - other.mean
    traces = float(np.trace(one.covariance) + np.trace(other.covariance))
    square = float(shift @ shift) + traces - 2 * float(np.sqrt(inner.clip(min=0)).sum())
    # Rounding leaves up to this share of the traces if both are equal.
    return math.sqrt(square) if square > 1e-10 * traces else 0.0
