"""Features -> components: scaler and PCA as one affine map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.features.products import Array

_ROWS, _COLUMNS = 32, 64
"""Products are of so many rows, and of a multiple of so many columns, see `rowwise_product`."""


def affine(x: NDArray[np.floating[Any]], weights: Array, offset: Array) -> NDArray[np.float32]:
    """Return x @ weights + offset, (n, d) to (n, k): what the models would compute.

    In float64, rounded to float32 at the end. A row's result does not depend on the others.
    """
    return (rowwise_product(x, weights) + offset).astype(np.float32)


def rowwise_product(
    x: NDArray[np.floating[Any]], weights: Array, shift: Array | None = None
) -> Array:
    """Return (x - shift) @ weights in float64; the bits of a row do not depend on the others.

    The BLAS takes other ways, with other roundings, for a single row, for what is left over at the
    edge of a matrix, and for small matrices. So all products are of one shape, filled up with
    zeros, that leaves nothing over for any number of threads.

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
        wide = np.zeros((width, -(-wanted // _COLUMNS) * _COLUMNS))
        wide[:, :wanted] = weights
    y = np.empty((len(x), wanted))
    block = np.zeros((_ROWS, width))
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        np.subtract(rows, 0.0 if shift is None else shift, out=block[: len(rows)])
        y[start : start + len(rows)] = (block @ wide)[: len(rows), :wanted]
    return y
