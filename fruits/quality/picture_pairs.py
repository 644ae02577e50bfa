"""Finds all pairs of pictures that differ by no more than the noise of saving them again.

The search is exact, but compares few pairs. The distance of two rows is at least the distance of
their projections onto any direction (Cauchy and Schwarz). So rows are sorted by their projection
onto the direction of the largest variance, and each block is compared only with the next rows whose
projections are near enough. The comparison uses matrix products in float32 with a tolerance for
rounding; the candidates are compared again in integers.

Thousands of pictures may be alike, such as the frames of a fixed camera. So a picture that has
:data:`PARTNERS` pairs with rows before it is not compared with further ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fruits.quality.signature import CELLS, CHROMA_NOISE, LUMA_NOISE, Bytes

Ints = NDArray[np.int64]

PARTNERS = 16
"""The maximum number of pairs of a picture with pictures before it, in the order of the search.

The pictures that come first in this order may have more pairs, with any number of later ones.
"""

_ROWS, _COLUMNS = 1024, 2048
"""The size of a block of products: 8 MB."""

_SAMPLE = 4096
"""The number of pictures from which the direction is computed."""

_REACH = LUMA_NOISE * CELLS**0.5
"""The maximum Euclidean distance of two rows of the same picture."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of pictures.

    Attributes:
        one: The indices of the first pictures, (p,) int64.
        other: The indices of the second pictures, (p,) int64. Each pair is listed once.
        difference: The root mean square of the difference in luma, without the difference of the
            means, in levels from 0 to 255, (p,) float64.
        crowded: The number of pictures that may have more pairs with pictures before them.
    """

    one: Ints
    other: Ints
    difference: NDArray[np.float64]
    crowded: int


def similar_pairs(luma: Bytes, chroma: Bytes) -> Pairs:
    """Finds the pairs of pictures that are the same except for the noise of saving them again.

    Two pictures are the same if their differences in luma and chroma are below the noise of JPEG,
    see :mod:`fruits.quality.signature`. A change of the brightness that is smaller than the
    contrast does not count.

    Args:
        luma: The luma cells, (n, 256) uint8.
        chroma: The chroma cells, (n, 128) uint8.

    Returns:
        All pairs, but at most :data:`PARTNERS` of each picture with pictures before it.
    """
    found: list[tuple[Ints, Ints, NDArray[np.float64]]] = []
    room = np.full(len(luma), PARTNERS)
    for one, other in _candidates(luma, room):
        count = PARTNERS
        while len(other):
            some = _rank_within(other) < count
            same, difference = _compared(luma, chroma, one[some], other[some])
            first, second, difference = one[some][same], other[some][same], difference[same]
            fits = _rank_within(second) < room[second]
            found.append((first[fits], second[fits], difference[fits]))
            np.subtract.at(room, second[fits], 1)
            left = ~some & (room[other] > 0)
            one, other, count = one[left], other[left], 2 * count
    nothing = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    ones, others, differences = zip(nothing, *found, strict=True)
    crowded = int(np.count_nonzero(room == 0))
    joined = (np.concatenate(ones), np.concatenate(others), np.concatenate(differences))
    return Pairs(*joined, crowded)


def _candidates(luma: Bytes, room: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yields blocks of pairs that may be similar, each pair once, sorted by the second row.

    The first row of a pair is before the second one in the order of the search, for which there is
    room: the caller reduces it by the pairs of the row.
    """
    if len(luma) < 2:
        return
    key = _projections(luma)
    order = np.argsort(key, kind="stable")
    key = key[order]
    ends = np.searchsorted(key, key + _REACH * (1 + 1e-3), "right")
    for start in range(0, len(order), _ROWS):
        last = min(start + _ROWS, len(order))
        end = int(ends[last - 1])
        rows = _augmented(luma[order[start:last]], False)
        for begin in range(start, end, _COLUMNS):
            later = np.arange(begin, min(begin + _COLUMNS, end))
            later = later[room[order[later]] > 0]
            if len(later):
                column, row = _near(_augmented(luma[order[later]], True), rows)
                before = row + start < later[column]
                yield order[row[before] + start], order[later[column[before]]]


def _projections(luma: Bytes) -> NDArray[np.float64]:
    """The projections of the centred rows onto the direction of their largest variance, (n,)."""
    some = _centred(luma[:: -(-len(luma) // _SAMPLE)])
    some -= some.mean(axis=0)
    _, vectors = np.linalg.eigh((some.T @ some).astype(np.float64))
    direction = vectors[:, -1].astype(np.float32)
    key = np.empty(len(luma))
    for start in range(0, len(luma), _COLUMNS):
        block = slice(start, start + _COLUMNS)
        key[block] = _centred(luma[block]) @ direction
    return key


def _centred(luma: Bytes) -> NDArray[np.float32]:
    rows = luma.astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows


def _augmented(luma: Bytes, left: bool) -> NDArray[np.float32]:
    """Rows whose products with rows of the other side are -1/2 of the squared distances."""
    rows = _centred(luma)
    half = -0.5 * np.einsum("ij,ij->i", rows, rows, dtype=np.float32)[:, np.newaxis]
    one = np.ones_like(half)
    return np.concatenate([rows, half, one] if left else [rows, one, half], axis=1)


def _near(rows: NDArray[np.float32], columns: NDArray[np.float32]) -> tuple[Ints, Ints]:
    """The rows and columns of products that are large enough, with a tolerance for rounding."""
    products = rows @ columns.T
    largest = max(float(np.abs(rows[:, -2]).max()), float(np.abs(columns[:, -1]).max()))
    # Higham, "Accuracy and Stability of Numerical Algorithms", 3.1.
    room = 4 * (CELLS + 2) * 2.0**-24 * largest
    row, column = np.nonzero(products >= -_REACH * _REACH / 2 - room)
    return row, column


def _compared(
    luma: Bytes, chroma: Bytes, one: Ints, other: Ints
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether pairs show the same picture, and their differences in luma."""
    same, differences = np.empty(len(one), bool), np.empty(len(one))
    for start in range(0, len(one), _COLUMNS):
        block = slice(start, start + _COLUMNS)
        a, b = luma[one[block]].astype(np.int32), luma[other[block]].astype(np.int32)
        off = a - b
        mean = off.mean(axis=1)
        difference = np.sqrt(np.maximum((off * off).mean(axis=1) - mean * mean, 0))
        contrast = np.maximum(np.minimum(a.std(axis=1), b.std(axis=1)), LUMA_NOISE)
        colours = chroma[one[block]].astype(np.int32) - chroma[other[block]]
        same[block] = (
            (difference <= LUMA_NOISE)
            & (np.abs(mean) <= contrast)
            & (np.sqrt((colours * colours).mean(axis=1)) <= CHROMA_NOISE)
        )
        differences[block] = difference
    return same, differences


def _rank_within(values: Ints) -> Ints:
    """The number of equal values directly before each one."""
    places = np.arange(len(values))
    begins = np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]
    return places - np.maximum.accumulate(np.where(begins, places, 0))
