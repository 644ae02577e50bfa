"""Finds the nearest rows of each row, by matrix products in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAREST = 10
"""The number of neighbours of a row."""

_PRODUCTS = 1 << 24
"""The number of products of a block: 64 MB."""


def nearest_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Finds the :data:`NEAREST` other rows of each row, or all if there are fewer.

    Products in float32 select the rows, so the choice is arbitrary between rows whose distances
    are equal up to rounding. Distances in float64 sort them.

    Args:
        rows: The rows, (n, k) float32.

    Returns:
        The (n, min(10, n - 1)) row numbers, sorted by distance and then by number; and the
        Euclidean distances.
    """
    total = len(rows)
    count = min(NEAREST, max(total - 1, 0))
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
