"""Features -> components: scaler and PCA as one affine map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.features.moments import BLOCK_ROWS, Array


def affine(x: NDArray[np.floating[Any]], weights: Array, offset: Array) -> NDArray[np.float32]:
    """Return x @ weights + offset, (n, d) to (n, k): what the models would compute.

    In float64 and blocks of rows, rounded to float32 at the end.
    """
    y = np.empty((len(x), offset.size), dtype=np.float32)
    for start in range(0, len(x), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        y[block] = x[block].astype(np.float64) @ weights + offset
    return y
