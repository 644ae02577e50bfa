"""From moments to a scaler and a PCA, as arrays and as one affine map.

Min-max and standard scaling are affine in each feature, so the covariance of the scaled features
follows from the scatter of the raw ones, and the pass that `fruits.features.moments` makes fits
everything. The results agree with Spark's own `MinMaxScaler`, `StandardScaler` and `PCA`, up to
rounding and the sign of a component. As in Spark, the PCA is fitted to centred features, but does
*not* centre what it transforms: components = scaled @ pc.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fruits.errors import ConfigError, InputError
from fruits.features.moments import Moments
from fruits.features.products import Array

SCALERS = ("minmax", "standard", "none")
"""Scalers by name; "none" leaves the features as they are."""


RANK_TOLERANCE = 1e-12
"""A component with less than this share of the first one's variance is rounding, not variance."""


_TIE = 1e-6
"""Loadings of a component that differ by less than this, relatively, count as equally large."""


@dataclass(frozen=True, eq=False)
class Reduction:
    """A fitted scaler and PCA, from d features to k components.

    Attributes:
        scaler: name of the scaler, one of :data:`SCALERS`.
        moments: what both were fitted to.
        explained_variance: (d,) float64, the share of every component, kept or not, in the variance
            of the scaled features; descending, 1 in sum.
        all_axes: (d, d) float64, the principal axes of the scaled features, in columns, also of
            components that are not kept.
        weights: (d, k) float64, scaler and PCA in one: components = features @ weights + offset.
        offset: (k,) float64, see ``weights``.
    """

    scaler: str
    moments: Moments
    explained_variance: Array
    all_axes: Array
    weights: Array
    offset: Array

    @property
    def components(self) -> int:
        """k, the number of components that are kept."""
        return int(self.offset.size)

    @property
    def axes(self) -> Array:
        """(d, k) float64, the axes of the components that are kept."""
        return self.all_axes[:, : self.components]


def fit_reduction(moments: Moments, scaler: str, components: int | float) -> Reduction:
    """Fits both steps.

    The eigendecomposition takes a second and 200 MB for 2,048 features.

    Raises:
        InputError: there are fewer than two images, or all have the same features.
        ConfigError: `scaler` or `components` has a value that cannot be used.
    """
    factor, shift = scaling(moments, scaler)
    explained, axes = principal_axes(moments, factor)
    possible = min(moments.count, moments.mean.size)
    pc = axes[:, : choose_components(explained[:possible], components)]
    return Reduction(
        scaler=scaler,
        moments=moments,
        explained_variance=explained,
        all_axes=axes,
        weights=factor[:, np.newaxis] * pc,
        offset=shift @ pc,
    )


def scaling(moments: Moments, kind: str) -> tuple[Array, Array]:
    """Return factor and shift, (d,) float64 each, with scaled = features * factor + shift.

    Raises:
        ConfigError: `kind` is not a scaler's name.
    """
    check_scaler(kind)
    if kind == "minmax":
        factor = _reciprocal(moments.maximum - moments.minimum)
        return factor, np.where(factor == 0, 0.5, -moments.minimum * factor)
    if kind == "standard":
        factor = _reciprocal(deviation(moments))
        return factor, -moments.mean * factor
    return np.ones_like(moments.mean), np.zeros_like(moments.mean)


def principal_axes(moments: Moments, factor: Array) -> tuple[Array, Array]:
    """PCA of features * factor: explained variance (d,) and axes (d, d), in columns, by variance.

    The variances are shares of their sum. Of n < d rows, all from the n-th on is exactly 0. The
    largest loading of each axis is positive, the first of them where several are as large. Where
    variances are equal, only the space that their axes span is determined.

    Raises:
        InputError: there are fewer than two rows, or they do not differ.
    """
    if moments.count < 2:
        raise InputError(f"wanted two images or more for a PCA, found {moments.count}; add images")
    covariance = moments.scatter * factor
    covariance *= factor[:, np.newaxis] / (moments.count - 1)
    ascending, vectors = np.linalg.eigh(covariance)
    variances, axes = ascending[::-1].clip(min=0), vectors[:, ::-1]
    variances[moments.count - 1 :] = 0  # n centred rows span n - 1 dimensions: these are rounding
    if variances[0] == 0:
        raise InputError(
            f"wanted images that differ, found {moments.count} with the same features; add others"
        )
    size = np.abs(axes)
    pivot = np.argmax(size >= (1 - _TIE) * size.max(axis=0), axis=0)
    signs = np.where(np.take_along_axis(axes, pivot[np.newaxis], axis=0) < 0, -1.0, 1.0)
    return variances / variances.sum(), axes * signs


def choose_components(explained_variance: Array, components: int | float) -> int:
    """Return how many components to keep.

    Args:
        explained_variance: (m,) descending shares of the m components that there can be: as many
            as there are features, or images if they are fewer.
        components: a whole number is that many, also 1. A fraction in (0, 1] is a share of the
            variance: the fewest components that hold it together, and for 1.0 all that have any.

    Raises:
        ConfigError: `components` is more than m, or no count and no share.
    """
    possible = len(explained_variance)
    if isinstance(components, int) and not isinstance(components, bool) and components >= 1:
        if components > possible:
            raise ConfigError(
                f"components: wanted at most {possible}, the smaller of the numbers of images and "
                f"features, or a share of variance such as 0.97; got {components}"
            )
        return components
    if isinstance(components, float) and 0 < components <= 1:
        rank = np.count_nonzero(explained_variance > RANK_TOLERANCE * explained_variance[0])
        if components == 1:
            return int(rank)
        together = np.cumsum(explained_variance)
        return int(min(np.searchsorted(together, components - RANK_TOLERANCE) + 1, rank))
    raise ConfigError(
        "components: wanted a whole number of components from 1, or a share of variance in (0, 1] "
        f"such as 0.97; got {components!r}"
    )


def turned_degrees(old: Moments, new: Moments, fitted: Reduction) -> dict[str, float]:
    """How far the leading axes of two PCAs have turned, see :func:`principal_angles`.

    Args:
        old: of the earlier images.
        new: of the present ones.
        fitted: to one of them; its axes are not computed again, and its scaler is that of both.

    Returns:
        Degrees from 0 to 90 by the number of leading axes that are compared.
    """

    def axes(moments: Moments) -> Array:
        if _alike(moments, fitted.moments):
            return fitted.all_axes
        return principal_axes(moments, scaling(moments, fitted.scaler)[0])[1]

    possible = min(old.count - 1, new.count - 1, old.width)
    return principal_angles(axes(old)[:, :possible], axes(new)[:, :possible])


def _alike(one: Moments, other: Moments) -> bool:
    """Whether scaler and PCA are the same for both, whatever the labels of their rows."""
    return one is other or (
        (one.width, one.count) == (other.width, other.count)
        and one.products.equals(other.products)
        and one.total.equals(other.total)
        and np.array_equal(one.minimum, other.minimum)
        and np.array_equal(one.maximum, other.maximum)
    )


def principal_angles(ones: Array, others: Array) -> dict[str, float]:
    """The largest principal angle between the leading axes of two bases.

    Björck and Golub, "Numerical methods for computing angles between linear subspaces",
    Mathematics of Computation 27 (1973): the sine is the norm of what one leaves of the other.

    Args:
        ones: (d, m) float64, orthonormal columns.
        others: the same.

    Returns:
        Degrees from 0 to 90 by the number of leading axes that are compared.
    """
    degrees = {}
    for count in (1, 2, 10, 100):
        if count <= ones.shape[1]:
            one, other = ones[:, :count], others[:, :count]
            sine = float(np.linalg.norm(other - one @ (one.T @ other), 2))
            degrees[str(count)] = round(math.degrees(math.asin(min(sine, 1.0))), 6)
    return degrees


def check_scaler(kind: str) -> None:
    """Raises ConfigError unless ``kind`` is a scaler's name."""
    if kind not in SCALERS:
        raise ConfigError(f"scaler: wanted one of {', '.join(SCALERS)}; got {kind!r}")


def deviation(moments: Moments) -> Array:
    """Sample standard deviation, (d,); 0 for a single row, as in Spark."""
    deviation: Array = np.sqrt(np.diag(moments.scatter) / max(moments.count - 1, 1))
    return deviation


def _reciprocal(spread: Array) -> Array:
    """1 / spread, and 0 for a feature that does not vary."""
    return np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
