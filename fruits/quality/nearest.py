"""The nearest rows of each row, by blocks of matrix products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PRODUCTS = 1 << 24
"""Products that are computed at once: 64 MB."""


def nearest_rows(
    rows: NDArray[np.float32], count: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest other rows of each row.

    Products in float32 choose them, so of rows that are equally near up to rounding any may be
    chosen; distances in float64 put them in order.

    Args:
        rows: (n, k) float32.
        count: wanted neighbours; n - 1 where there are fewer.

    Returns:
        (n, count) places, the nearest first and of equally near ones the first; and their Euclidean
        distances.
    """
    total = len(rows)
    count = min(count, max(total - 1, 0))
    places, distances = np.empty((total, count), np.int64), np.empty((total, count))
    if count == 0:
        return places, distances
    centred = rows - rows.mean(axis=0)
    squares = np.einsum("ij,ij->i", centred, centred)
    step = max(1, _PRODUCTS // total)
    for start in range(0, total, step):
        block = slice(start, start + step)
        near = squares / 2 - centred[block] @ centred.T
        own = np.arange(len(near))
        near[own, own + start] = np.inf
        chosen = np.sort(np.argpartition(near, count - 1, axis=1)[:, :count], axis=1)
        exact = _distances(rows[block], rows, chosen)
        order = np.argsort(exact, axis=1, kind="stable")
        places[block] = np.take_along_axis(chosen, order, axis=1)
        distances[block] = np.take_along_axis(exact, order, axis=1)
    return places, distances


def _distances(
    some: NDArray[np.float32], rows: NDArray[np.float32], chosen: NDArray[np.int64]
) -> NDArray[np.float64]:
    columns = [
        np.linalg.norm(rows[places].astype(np.float64) - some, axis=1) for places in chosen.T
    ]
    return np.stack(columns, axis=1)
