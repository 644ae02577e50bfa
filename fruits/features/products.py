"""Fast exact sums of products of features, by float64 matrix products of integers.

A feature x is divided into limbs of 21 bits, x = sum over k of limb_k * 2^(top - 20 - 21 k), with
integers |limb_k| <= 2^20. A product of two limbs has 40 bits, and the sum of 2,048 products has 51
bits: float64 adds them without rounding in any order that the BLAS uses, and int64 adds up the
blocks. No bits of a feature are dropped, so the choice of `top` and the division into blocks change
only the speed, not the result. Two limbs have all bits of 99.99 % of the features of a CNN. They
need three matrix products, because (a + b)^2 - a^2 - b^2 saves a fourth one (Karatsuba). The few
other features have more limbs, which are multiplied one by one or, if there are many, in more
matrix products. If the features range from 1e-11 to 1e6, that takes time but loses no digits.

For exact sums as a way to reproducible results, see Demmel and Nguyen, "Parallel reproducible
summation", IEEE Transactions on Computers 64 (2015), pp. 2060-2070. For limbs and matrix products,
see Ozaki, Ogita, Oishi and Rump, "Error-free transformations of matrix multiplication by using fast
routines of matrix multiplication", Numerical Algorithms 59 (2012), pp. 95-118.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.errors import InputError
from fruits.features.exact import Exact, Ints
from fruits.features.label_sums import Array, LabelSums, add_ranges

BLOCK_ROWS = 2048
"""Rows that are multiplied at once: 2^11 products of 2 x 20 bits, and two signs, fit in 2^53."""

_LIMB = 21
_HALF = 20
_STEP = float(1 << _LIMB)

_BLOCKS = 32
"""Blocks that int64 can add up: each is at most 2^57."""

_HEADROOM = 1
"""The bits of a new `top` above the largest feature, so that a larger one seldom needs another."""

_SLACK = 8
"""If `top` is this many bits above the largest feature of a block, a new `top` is chosen."""

_DENSE = 0.02
"""If a larger share of features has another limb, a matrix product is faster."""

_COLUMNS_AT_ONCE = 64
"""Features whose sparse limbs are multiplied at once, so that they fit in the cache."""

_ROWS_AT_ONCE = 32
"""Rows that are divided into limbs at once, so that they fit in the cache."""

_STRIP = 64
"""Rows of the upper triangle that are added at once."""

_RANGE = 400
"""The size of float64 features must be 0 or in [2^-400, 2^400], so that squares are finite."""


class ProductSums:
    """Adds up blocks of rows: the products of all pairs of features, and the sums of each label.

    Args:
        width: d, the number of features.

    Attributes:
        labels: The sums of each label, complete after `products` was called.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.labels: dict[str | None, LabelSums] = {}
        self._products = Exact.zeros(width * (width + 1) // 2)
        self._top = 0
        self._blocks = 0
        self._dense = np.zeros((3, width, width), np.int64)
        """The squares of the first limb, of the second limb, and of their sum: upper triangles."""
        self._squares: dict[int, Ints] = {}
        """(d, d) sums of products of other limbs k and l, by k + l."""
        self._buffers: list[Array] = []
        """Three of (BLOCK_ROWS, d): memory that is used again costs no page faults."""
        self._product = np.empty((width, width))
        self._sums: dict[str | None, dict[int, Ints]] = {}
        """(d,) sums by label and number of the limb, in units of that limb."""

    def products(self) -> Exact:
        """The sums of all x_i x_j with i <= j, by rows: i = 0 and all j, i = 1 and j from 1, ..."""
        self._flush()
        return self._products

    def add(self, x: NDArray[np.floating[Any]], bounds: dict[str | None, slice]) -> None:
        """Adds rows.

        Args:
            x: (n, d) float32 or float64, of at most `BLOCK_ROWS` rows.
            bounds: the slice of the rows of each label; together they have all rows.

        Raises:
            InputError: a feature is NaN, infinite, or a float64 that is extremely large or small.
        """
        self._choose_top(x)
        high, low, left = self._cut(x)
        limbs = [high, low]
        fine = self._further_limbs(left, limbs)
        for place, rows, columns, values in fine:
            self._add_sparse(limbs, place, rows, columns, values)
            self._sum_sparse(bounds, place, rows, columns, values)
        self._square_sparse(fine)
        for place, limb in enumerate(limbs):
            self._sum_dense(bounds, place, limb)
        self._square(high, low)
        add_ranges(self.labels, x, bounds)

    def _cut(self, x: NDArray[np.floating[Any]]) -> list[Array]:
        """The first two limbs and the remainder in units of the third limb, (n, d) each."""
        if not self._buffers:
            self._buffers = [np.empty((BLOCK_ROWS, self.width)) for _ in range(3)]
        high, low, left = (buffer[: len(x)] for buffer in self._buffers)
        scale = 2.0 ** (_HALF - self._top)
        for start in range(0, len(x), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            z = left[some]
            np.multiply(x[some], scale, out=z, dtype=np.float64)
            _peel(z, high[some])
            _peel(z, low[some])
        return [high, low, left]

    def _choose_top(self, x: NDArray[np.floating[Any]]) -> None:
        """Chooses `top` so that the largest feature fits and most others need only two limbs."""
        largest = float(max(x.max(), -x.min()))
        if not math.isfinite(largest):
            raise InputError(
                "wanted finite features; got NaN or infinite ones: "
                "check the backbone's weights and extract the features again"
            )
        if x.dtype == np.float64:
            sizes = np.abs(x[x != 0])
            if sizes.size and not 2.0**-_RANGE <= sizes.min() <= sizes.max() <= 2.0**_RANGE:
                raise InputError(
                    f"wanted features between 2^-{_RANGE} and 2^{_RANGE}; got sizes from "
                    f"{sizes.min():.1e} to {sizes.max():.1e}: store them as float32"
                )
        needed = math.frexp(largest)[1]
        fits = needed <= self._top <= needed + _SLACK or largest == 0
        if self._blocks == _BLOCKS or not fits:
            if self._blocks:
                self._flush()
            self._top, self._blocks = needed + _HEADROOM, 0
        self._blocks += 1

    def _further_limbs(self, z: Array, limbs: list[Array]) -> list[tuple[int, Ints, Ints, Array]]:
        """Makes limbs of the remainder: matrices while there is much left, then sparse limbs."""
        while (count := np.count_nonzero(z)) > _DENSE * z.size:
            limb = _peel(z, np.empty_like(z))
            place = len(limbs)
            for other, values in enumerate(limbs):
                product = values.T @ limb
                self._count(place + other, product)
                self._count(place + other, product.T)
            self._count(2 * place, limb.T @ limb)
            limbs.append(limb)
        fine = []
        if count:
            place = len(limbs)
            rows, columns = np.nonzero(z)
            order = np.argsort(columns, kind="stable")
            rows, columns = rows[order], columns[order]
            values = z[rows, columns]
            while values.size:
                limb = _peel(values, np.empty_like(values))
                some = limb != 0
                fine.append((place, rows[some], columns[some], limb[some]))
                some = values != 0
                place, rows, columns, values = place + 1, rows[some], columns[some], values[some]
        return fine

    def _square(self, high: Array, low: Array) -> None:
        """Adds the products of the first two limbs; `low` is overwritten by their sum."""
        for number, limb in enumerate((high, low)):
            # The transpose of itself: numpy calls BLAS syrk, which takes half of the time.
            _add_upper(self._dense[number], np.matmul(limb.T, limb, out=self._product))
        low += high
        _add_upper(self._dense[2], np.matmul(low.T, low, out=self._product))

    def _add_sparse(
        self, limbs: list[Array], place: int, rows: Ints, columns: Ints, values: Array
    ) -> None:
        """Adds the products of sparse limbs with the dense limbs of their rows."""
        at, first = np.unique(columns, return_index=True)
        ends = np.append(first, len(values))
        for start in range(0, len(at), _COLUMNS_AT_ONCE):
            some = at[start : start + _COLUMNS_AT_ONCE]
            own = slice(ends[start], ends[start + len(some)])
            for other, limb in enumerate(limbs):
                products = limb[rows[own]]
                products *= values[own, np.newaxis]
                parts = ends[start : start + len(some)] - own.start
                sums = np.add.reduceat(products, parts, axis=0).astype(np.int64)
                square = self._square_of(place + other)
                square[some] += sums
                square[:, some] += sums.T

    def _square_sparse(self, fine: list[tuple[int, Ints, Ints, Array]]) -> None:
        """Adds the products of sparse limbs with each other."""
        if not fine:
            return
        all_rows = np.unique(np.concatenate([rows for _, rows, _, _ in fine]))
        all_columns = np.unique(np.concatenate([columns for _, _, columns, _ in fine]))
        at = np.ix_(all_columns, all_columns)
        small: list[tuple[int, Array]] = []
        for place, rows, columns, values in fine:
            matrix = np.zeros((len(all_rows), len(all_columns)))
            matrix[np.searchsorted(all_rows, rows), np.searchsorted(all_columns, columns)] = values
            for other_place, other in small:
                product = (other.T @ matrix).astype(np.int64)
                self._square_of(place + other_place)[at] += product + product.T
            self._square_of(2 * place)[at] += (matrix.T @ matrix).astype(np.int64)
            small.append((place, matrix))

    def _square_of(self, place: int) -> Ints:
        if place not in self._squares:
            self._squares[place] = np.zeros((self.width, self.width), np.int64)
        return self._squares[place]

    def _count(self, place: int, product: Array) -> None:
        _add(self._square_of(place), product)

    def _sum_dense(self, bounds: dict[str | None, slice], place: int, limb: Array) -> None:
        for label, rows in bounds.items():
            sums = self._sums_of(label, place)
            sums += limb[rows].sum(axis=0).astype(np.int64)

    def _sum_sparse(
        self, bounds: dict[str | None, slice], place: int, rows: Ints, columns: Ints, values: Array
    ) -> None:
        for label, part in bounds.items():
            some = (rows >= part.start) & (rows < part.stop)
            if some.any():
                np.add.at(self._sums_of(label, place), columns[some], values[some].astype(np.int64))

    def _sums_of(self, label: str | None, place: int) -> Ints:
        by_place = self._sums.setdefault(label, {})
        if place not in by_place:
            by_place[place] = np.zeros(self.width, np.int64)
        return by_place[place]

    def _flush(self) -> None:
        """Adds the int64 sums to the exact sums, and resets them."""
        unit = self._top - _HALF
        high, low, both = self._dense
        both -= high
        both -= low
        squares = [(0, high), (1, both), (2, low), *self._squares.items()]
        terms = ((packed(square), 2 * unit - _LIMB * place) for place, square in squares)
        self._products += Exact.sum_of(self._products.words.shape[1], terms)
        self._dense[:] = 0
        for label, sums in self._sums.items():
            places = ((values, unit - _LIMB * place) for place, values in sums.items())
            self.labels[label].total += Exact.sum_of(self.width, places)
        self._squares, self._sums = {}, {}


def _peel(z: Array, limb: Array) -> Array:
    """Moves the integer part of `z` into `limb`, and scales the rest for the next limb."""
    np.rint(z, out=limb)
    z -= limb
    z *= _STEP
    return limb


def _add(total: Ints, product: Array) -> None:
    # Without `dtype`, NumPy would add in float64.
    np.add(total, product, out=total, dtype=np.int64, casting="unsafe")


def _add_upper(total: Ints, product: Array) -> None:
    """Adds the upper triangle of a product, strip by strip, with a few entries below it."""
    for start in range(0, len(total), _STRIP):
        strip = slice(start, start + _STRIP)
        _add(total[strip, start:], product[strip, start:])


def packed(square: NDArray[Any]) -> NDArray[Any]:
    """The upper triangle of a (d, d) array, by rows, as (d (d + 1) / 2,)."""
    return np.concatenate([row[number:] for number, row in enumerate(square)])
