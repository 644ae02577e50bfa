"""One pass over a feature column: count, mean, range and centred scatter, in pieces that merge.

Everything that the scalers and the PCA have to know about the features is in `Moments`, so the
table of features is read once, whatever is fitted afterwards. Partial moments are merged with the
pairwise update of Chan, Golub and LeVeque, "Algorithms for computing the sample variance: analysis
and recommendations", The American Statistician 37 (1983), pp. 242-247. Only centred sums are ever
added, so a mean far larger than the spread does little harm: at a million times the spread, the
scatter of one block is good to 14 digits, a merged one to 11; a plain sum of squares would keep 4.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.errors import InputError
from fruits.features.rows import check_widths, matrix

Array = NDArray[np.float64]


BLOCK_ROWS = 2048
"""Rows that are centred and multiplied at once: 32 MiB of float64 for 2,048 features."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean, range and centred scatter of n rows of d features.

    Attributes:
        count: n, the number of rows.
        mean: (d,) float64, in the units of the features, as are the next two.
        minimum: (d,) float64.
        maximum: (d,) float64.
        scatter: (d, d) float64, symmetric: the sum over the rows of (x - mean)(x - mean)^T, in
            squared units. Divided by n - 1 it is the sample covariance.

    A feature that never changes has exactly its value as its mean, and zeros in the scatter.
    """

    count: int
    mean: Array
    minimum: Array
    maximum: Array
    scatter: Array

    @classmethod
    def empty(cls) -> Moments:
        """No rows, of any width: merging it changes nothing."""
        return cls(0, np.empty(0), np.empty(0), np.empty(0), np.empty((0, 0)))

    @classmethod
    def of(cls, x: NDArray[np.floating[Any]]) -> Moments:
        """Moments of the rows of `x`, (n, d) float32 or float64, in float64.

        The corrected two-pass algorithm of Chan, Golub and LeVeque: what the rounded mean leaves
        behind is measured and taken off.

        Raises:
            InputError: a feature is NaN or infinite.
        """
        count, width = x.shape
        if count == 0:
            return cls.empty()
        minimum, maximum = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
        if not np.isfinite([minimum, maximum]).all():
            raise InputError(
                "wanted finite features, found NaN or infinite ones; "
                "check the backbone's weights and extract the features again"
            )
        # A rounded mean can lie outside the range. Held within it, a constant is centred to zero.
        centre = np.clip(x.mean(axis=0, dtype=np.float64), minimum, maximum)
        scatter, rest = np.zeros((width, width)), np.zeros(width)
        for start in range(0, count, BLOCK_ROWS):
            z = np.subtract(x[start : start + BLOCK_ROWS], centre, dtype=np.float64)
            scatter += z.T @ z  # the transpose of itself: numpy calls BLAS syrk
            rest += z.sum(axis=0)
        scatter -= np.outer(rest, rest) / count
        mean = np.clip(centre + rest / count, minimum, maximum)
        return cls(count, mean, minimum, maximum, scatter)

    def merge(self, other: Moments) -> Moments:
        """Moments of the rows of both.

        Raises:
            InputError: the two are of different widths.
        """
        if self.count == 0 or other.count == 0:
            return self if other.count == 0 else other
        check_widths(self.mean.size, other.mean.size)
        count = self.count + other.count
        delta = other.mean - self.mean
        between = delta * math.sqrt(self.count * (other.count / count))
        scatter = np.outer(between, between)
        scatter += self.scatter
        scatter += other.scatter
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            scatter,
        )

    def to_bytes(self) -> bytes:
        """Pack into `_HEADER`, then mean, range and the scatter's upper triangle by rows.

        Little-endian float64: 6.6 MB for 1,280 features, 17 MB for 2,048.
        """
        width = self.mean.size
        triangle = (self.scatter[row, row:] for row in range(width))
        body = np.concatenate([self.mean, self.minimum, self.maximum, *triangle], dtype="<f8").data
        return b"".join([_HEADER.pack(_MAGIC, self.count, width, zlib.crc32(body)), body])

    @staticmethod
    def from_bytes(packed: bytes | bytearray) -> Moments:
        """Unpack what `to_bytes` made.

        Raises:
            ValueError: the bytes are something else, cut short, or damaged.
        """
        if len(packed) < _HEADER.size or not packed.startswith(_MAGIC):
            raise ValueError(f"wanted packed moments, found {len(packed)} bytes of something else")
        _, count, width, checksum = _HEADER.unpack_from(packed)
        body = memoryview(packed)[_HEADER.size :]
        wanted = 8 * (3 * width + width * (width + 1) // 2)
        if len(body) != wanted or zlib.crc32(body) != checksum:
            raise ValueError(
                f"wanted packed moments of {width} features in {wanted} bytes, found {len(body)} "
                "bytes that are cut short or damaged"
            )
        numbers = np.frombuffer(body, dtype="<f8")
        mean, minimum, maximum = numbers[: 3 * width].astype(np.float64).reshape(3, width)
        scatter, start = np.empty((width, width)), 3 * width
        for row in range(width):
            end = start + width - row
            scatter[row, row:] = scatter[row:, row] = numbers[start:end]
            start = end
        return Moments(count, mean, minimum, maximum, scatter)


_MAGIC = b"moments1"


_HEADER = struct.Struct("<8sQQI")
"""Magic, count, width, CRC-32 of what follows."""


def measured(columns: Iterable[pa.Array]) -> Moments:
    """Moments of all rows of some list arrays; how they are cut into arrays has no influence.

    Raises:
        InputError: rows are null, not finite, or of different lengths.
    """
    total = Moments.empty()
    for block in _blocks(map(matrix, columns)):
        total = total.merge(Moments.of(block))
    return total


def _blocks(arrays: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Regroup (n, d) arrays of any n into arrays of BLOCK_ROWS rows; the last may be shorter."""
    held: list[NDArray[Any]] = []
    room = BLOCK_ROWS
    for array in arrays:
        left = array
        while len(left):
            taken, left = left[:room], left[room:]
            if held:
                check_widths(held[0].shape[1], taken.shape[1])
            held.append(taken)
            room -= len(taken)
            if room == 0:
                yield np.concatenate(held)
                held, room = [], BLOCK_ROWS
    if held:
        yield np.concatenate(held)
