"""Finds the exact nearest training images: float32 products find candidates, float64 ranks them.

|x - q|^2 = |x|^2 - 2 x q + |q|^2: the products of all rows are one pass over the matrix in float32,
with a known bound of the rounding error (Higham, "Accuracy and Stability of Numerical Algorithms",
3.1). Every row that may be among the nearest within this bound is ranked by its distance in
float64, so the result is the same as that of comparing every row in float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NEAREST = 5
"""The number of neighbours of a prediction."""

_BLOCK_ROWS = 8192
_QUERIES = 8
_UNIT = 2.0**-24
"""The largest relative error of one rounding in float32."""


class Neighbours:
    """An index of rows of components; safe to use from several threads.

    Args:
        rows: (n, k) float32, in memory or memory-mapped.
        lengths: (n,) float64, the Euclidean length of each row.
    """

    def __init__(self, rows: NDArray[np.float32], lengths: NDArray[np.float64]) -> None:
        self.rows = rows
        self._lengths = lengths
        self._squares = lengths * lengths

    def nearest(
        self, queries: NDArray[np.float32]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """The nearest rows of each query: :data:`NEAREST`, or all if there are fewer.

        Args:
            queries: (m, k) float32.

        Yields:
            For each query, the indices of the rows by ascending distance (the first ones if
            distances are equal), and their Euclidean distances.
        """
        count = min(NEAREST, len(self.rows))
        for start in range(0, len(queries), _QUERIES):
            some = queries[start : start + _QUERIES]
            products = self._products(some)
            for query, product in zip(some, products, strict=True):
                yield self._ranked(query.astype(np.float64), product, count)

    def _products(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        products = np.empty((len(queries), len(self.rows)), np.float32)
        for start in range(0, len(self.rows), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            np.matmul(queries, self.rows[block].T, out=products[:, block])
        return products

    def _ranked(
        self, query: NDArray[np.float64], products: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if count == 0:
            return np.empty(0, np.int64), np.empty(0)
        length = float(np.linalg.norm(query))
        # Half of the squared distances, without the constant of the query: the order is the same.
        near = self._squares / 2 - products
        error = self._lengths * (length * (query.size + 8) * _UNIT)
        limit = np.partition(near + error, count - 1)[count - 1]
        # Negated, so that NaN is ranked as well.
        places = np.flatnonzero(~(near - error > limit))
        distances = np.concatenate(
            [
                np.linalg.norm(self.rows[places[n : n + _BLOCK_ROWS]] - query, axis=1)
                for n in range(0, len(places), _BLOCK_ROWS)
            ]
        )
        order = np.argsort(distances, kind="stable")[:count]
        return places[order], distances[order]
