"""Fits a scaler and a PCA to moments, as arrays and as one affine map.

Min-max and standard scaling are affine in each feature, so the covariance of the scaled features
follows from the scatter of the raw features, and the single pass of `fruits.features.moments` is
enough to fit everything. The results agree with Spark's own `MinMaxScaler`, `StandardScaler` and
`PCA`, up to rounding and the sign of a component. As in Spark, the PCA is fitted to centred
features but does *not* centre the features that it transforms: components = scaled @ pc.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fruits.errors import ConfigError, InputError
from fruits.features.label_sums import Array
from fruits.features.moments import Moments
from fruits.reduction.blas import one_blas_thread

SCALERS = ("minmax", "standard", "none")
"""The names of the scalers; "none" does not change the features."""


RANK_TOLERANCE = 1e-12
"""A direction with less variance, relative to the one with the most, is a rounding error."""


_TIE = 1e-6
"""Loadings of a component with a smaller relative difference count as equal."""


@dataclass(frozen=True, eq=False)
class Reduction:
    """A fitted scaler and PCA, from d features to k components.

    Attributes:
        scaler: The name of the scaler, one of :data:`SCALERS`.
        moments: The moments that both were fitted to.
        explained_variance: (d,) float64, the share of every component, kept or not, in the variance
            of the scaled features; descending, with the sum 1.
        all_axes: (d, d) float64, the principal axes of the scaled features, in columns, of all
            components, kept or not.
        weights: (d, k) float64, scaler and PCA in one map:
            components = features @ weights + offset.
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
        """The number of kept components, k."""
        return int(self.offset.size)

    @property
    def axes(self) -> Array:
        """(d, k) float64, the axes of the kept components."""
        return self.all_axes[:, : self.components]


@one_blas_thread()
def fit_reduction(moments: Moments, scaler: str, components: int | float) -> Reduction:
    """Fits the scaler and the PCA.

    The eigendecomposition takes a second and 200 MB for 2,048 features.

    Raises:
        InputError: there are fewer than two images, or all have the same features.
        ConfigError: `scaler` or `components` is invalid.
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
    """Returns factor and shift, (d,) float64 each, with scaled = features * factor + shift.

    Raises:
        ConfigError: `kind` is not the name of a scaler.
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
    """PCA of features * factor: explained variance (d,) and axes (d, d), in columns, descending.

    The variances are shares of their sum. With n < d rows, they are exactly 0 from the n-th on. The
    largest loading of each axis is positive (the first one, if several are equal). If variances are
    equal, only the space that their axes span is determined.

    Raises:
        InputError: there are fewer than two rows, or all rows are equal.
    """
    if moments.count < 2:
        raise InputError(f"wanted at least two images for a PCA; got {moments.count}: add images")
    covariance = moments.scatter * factor
    covariance *= factor[:, np.newaxis] / (moments.count - 1)
    ascending, vectors = np.linalg.eigh(covariance)
    variances, axes = ascending[::-1].clip(min=0), vectors[:, ::-1]
    # n centred rows span n - 1 dimensions; other variances are rounding errors.
    variances[moments.count - 1 :] = 0
    if variances[0] == 0:
        raise InputError(
            f"wanted images that differ; got {moments.count} with the same features: add others"
        )
    size = np.abs(axes)
    pivot = np.argmax(size >= (1 - _TIE) * size.max(axis=0), axis=0)
    signs = np.where(np.take_along_axis(axes, pivot[np.newaxis], axis=0) < 0, -1.0, 1.0)
    return variances / variances.sum(), axes * signs


def choose_components(explained_variance: Array, components: int | float) -> int:
    """Returns the number of components to keep.

    Args:
        explained_variance: (m,) descending shares of the m possible components, where m is the
            smaller of the numbers of features and training images.
        components: an int is the number of components. A float in (0, 1] is a share of the
            variance: the fewest components that reach it are kept; for 1.0, all with any variance.

    Raises:
        ConfigError: `components` is more than m, or is neither a count nor a share.
    """
    possible = len(explained_variance)
    if isinstance(components, int) and not isinstance(components, bool) and components >= 1:
        if components > possible:
            raise too_many_components(components, possible)
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


def too_many_components(components: int, possible: int) -> ConfigError:
    """The error of a number of components that is larger than the possible number."""
    return ConfigError(
        f"components: wanted at most {possible}, the smaller of the numbers of training images and "
        f"features, or a share of variance such as 0.97; got {components}"
    )


@one_blas_thread()
def turned_degrees(old: Moments, new: Moments, fitted: Reduction) -> dict[str, float] | None:
    """The angles between the leading axes of two PCAs, see :func:`principal_angles`.

    Args:
        old: the moments of the earlier images.
        new: the moments of the present images.
        fitted: a reduction with the scaler to use; if it was fitted to `old` or `new`, its axes are
            not computed again.

    Returns:
        Angles in degrees, from 0 to 90, by the number of leading axes that are compared. None if
        the new images have no axes: there is only one, or all have the same features.
    """
    if new.count < 2 or np.array_equal(new.minimum, new.maximum):
        return None

    def axes(moments: Moments) -> Array:
        if _alike(moments, fitted.moments):
            return fitted.all_axes
        return principal_axes(moments, scaling(moments, fitted.scaler)[0])[1]

    possible = min(old.count - 1, new.count - 1, old.width)
    return principal_angles(axes(old)[:, :possible], axes(new)[:, :possible])


def _alike(one: Moments, other: Moments) -> bool:
    """Whether scaler and PCA are the same for both; the labels of the rows may differ."""
    return one is other or (
        (one.width, one.count) == (other.width, other.count)
        and one.products.equals(other.products)
        and one.total.equals(other.total)
        and np.array_equal(one.minimum, other.minimum)
        and np.array_equal(one.maximum, other.maximum)
    )


def principal_angles(ones: Array, others: Array) -> dict[str, float]:
    """The largest principal angle between the leading axes of two bases.

    The sine of the angle is the norm of the part of one basis that is orthogonal to the other:
    Björck and Golub, "Numerical methods for computing angles between linear subspaces", Mathematics
    of Computation 27 (1973).

    Args:
        ones: (d, m) float64, orthonormal columns.
        others: (d, m) float64, orthonormal columns.

    Returns:
        Angles in degrees, from 0 to 90, by the number of leading axes that are compared.
    """
    degrees = {}
    for count in (1, 2, 10, 100):
        if count <= ones.shape[1]:
            one, other = ones[:, :count], others[:, :count]
            sine = float(np.linalg.norm(other - one @ (one.T @ other), 2))
            degrees[str(count)] = round(math.degrees(math.asin(min(sine, 1.0))), 6)
    return degrees


def check_scaler(kind: str) -> None:
    """Raises ConfigError unless ``kind`` is the name of a scaler."""
    if kind not in SCALERS:
        raise ConfigError(f"scaler: wanted one of {', '.join(SCALERS)}; got {kind!r}")


def deviation(moments: Moments) -> Array:
    """Sample standard deviation, (d,); 0 for a single row, as in Spark."""
    deviation: Array = np.sqrt(np.diag(moments.scatter) / max(moments.count - 1, 1))
    return deviation


def _reciprocal(spread: Array) -> Array:
    """1 / spread, or 0 for a constant feature."""
    return np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
