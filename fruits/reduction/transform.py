"""Transforms features into components: scaler and PCA as one affine map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.features.label_sums import Array

_ROWS, _COLUMNS = 16, 64
"""Products have this many rows and a multiple of this many columns, see `rowwise_product`."""


def affine(x: NDArray[np.floating[Any]], weights: Array, offset: Array) -> NDArray[np.float32]:
    """Returns x @ weights + offset, (n, d) to (n, k), as the Spark ML models compute it.

    Computes in float64 and rounds to float32 at the end. The result of a row does not depend on the
    other rows.
    """
    return (rowwise_product(x, weights) + offset).astype(np.float32)


def rowwise_product(
    x: NDArray[np.floating[Any]], weights: Array, shift: Array | None = None
) -> Array:
    """Returns (x - shift) @ weights in float64; the bits of a row do not depend on other rows.

    The BLAS uses different kernels, which round differently, for a single row, for the rest at the
    edge of a matrix, and for small matrices. So all products have the same shape, padded with
    zeros, with which no rest remains for any number of threads.

    Args:
        x: (n, d) float32 or float64.
        weights: (d, k) float64.
        shift: (d,) float64.

    Returns:
        (n, k) float64.
    """
    width, wanted = weights.shape
    wide = weights
    if wanted % _COLUMNS:
        wide = np.empty((width, -(-wanted // _COLUMNS) * _COLUMNS))
        wide[:, :wanted], wide[:, wanted:] = weights, 0
    y = np.empty((len(x), wanted))
    block = np.zeros((_ROWS, width))
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        np.subtract(rows, 0.0 if shift is None else shift, out=block[: len(rows)])
        y[start : start + len(rows)] = (block @ wide)[: len(rows), :wanted]
    return y
