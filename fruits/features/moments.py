"""One pass over a feature column: exact counts, sums and products, for all rows and for each label.

`Moments` has everything that the scalers, the PCA and the classifier need to know about the
features, so the table of features is read once, whatever is fitted later. The sums are exact
(`fruits.features.products`): they are the same, bit for bit, in any order of merging, for any
division into chunks, and after rows are added and subtracted again. So every fit depends only on
the *set* of images. Results are rounded once, after the mean was subtracted exactly, so a mean that
is much larger than the spread causes no loss of precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.features.exact import Exact, carry, to_float
from fruits.features.label_sums import Array, LabelSums
from fruits.features.moments_bytes import pack, unpack
from fruits.features.products import BLOCK_ROWS, ProductSums
from fruits.features.rows import check_widths, matrix

Label = str | None

_ROWS_AT_ONCE = 32
"""Rows of the scatter that are computed at once: a few megabytes, which fit in the cache."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Exact sums over n rows of d features.

    Attributes:
        width: The number of features, d.
        labels: Count, sums and range of the rows of each label, sorted by label, None (no label)
            first.
        products: The sums of all x_i x_j with i <= j, by rows.

    The properties are float64, with errors of at most two units in the last place. The mean of a
    constant feature is exactly its value, and its scatter is exactly zero.
    """

    width: int
    labels: dict[Label, LabelSums]
    products: Exact

    @classmethod
    def empty(cls) -> Moments:
        """Moments of no rows, which can be merged with moments of any width."""
        return cls(0, {}, Exact.zeros(0))

    @classmethod
    def of(cls, x: NDArray[np.floating[Any]], labels: Sequence[Label] | None = None) -> Moments:
        """Moments of the rows of `x`, (n, d) float32 or float64, with n labels or without labels.

        Raises:
            InputError: a feature is NaN, infinite, or a float64 that is extremely large or small.
        """
        return _measured([(x, labels)])

    @property
    def count(self) -> int:
        """n, the number of rows."""
        return sum(sums.count for sums in self.labels.values())

    @cached_property
    def total(self) -> Exact:
        """(d,) the sums of the features."""
        return sum((s.total for s in self.labels.values()), Exact.zeros(self.width))

    @cached_property
    def mean(self) -> Array:
        """(d,) in the units of the features, rounded once."""
        return self.total.divided_by(max(self.count, 1))

    @cached_property
    def minimum(self) -> Array:
        """(d,) in the units of the features.

        Raises:
            ValueError: the range is unknown, see `unranged`.
        """
        self._check_ranged()
        return _extreme(np.minimum, [sums.minimum for sums in self.labels.values()])

    @cached_property
    def maximum(self) -> Array:
        """(d,), see `minimum`."""
        self._check_ranged()
        return _extreme(np.maximum, [sums.maximum for sums in self.labels.values()])

    @cached_property
    def scatter(self) -> Array:
        """(d, d), symmetric: the sum over the rows of (x - mean)(x - mean)^T, in squared units.

        Divided by n - 1, it is the sample covariance. Multiplied by n, it is
        n sum x x^T - (sum x)(sum x)^T: integers of about 24 bits are multiplied and subtracted
        exactly, and then rounded.
        """
        return _scatter(self.count, self.width, self.total, self.products)

    @property
    def unranged(self) -> list[Label]:
        """Labels with an unknown range, because a row at its minimum or maximum was subtracted.

        There, `minimum` and `maximum` are NaN; set them for the remaining rows with `with_range`.
        """
        return [
            label
            for label, sums in self.labels.items()
            if np.isnan(sums.minimum).any() or np.isnan(sums.maximum).any()
        ]

    def with_range(self, label: Label, minimum: Array, maximum: Array) -> Moments:
        """The same moments with a new range of one label, (d,) each."""
        # Adding zero turns -0.0 into 0.0.
        ranged = replace(self.labels[label], minimum=minimum + 0.0, maximum=maximum + 0.0)
        return replace(self, labels=self.labels | {label: ranged})

    def merge(self, other: Moments) -> Moments:
        """Moments of the rows of both.

        Raises:
            InputError: the two have different widths.
        """
        if not self.labels or not other.labels:
            return self if not other.labels else other
        check_widths(self.width, other.width)
        labels = self.labels | other.labels
        for label in self.labels.keys() & other.labels.keys():
            one, another = self.labels[label], other.labels[label]
            labels[label] = LabelSums(
                one.count + another.count,
                one.total + another.total,
                np.minimum(one.minimum, another.minimum),
                np.maximum(one.maximum, another.maximum),
            )
        return Moments(self.width, _sorted(labels), self.products + other.products)

    def subtract(self, other: Moments) -> Moments:
        """Moments of these rows without the rows of `other`, which must be among them.

        All sums equal those of measuring the remaining rows. The range of a label is unknown if a
        row at its minimum or maximum was subtracted, see `unranged`.

        Raises:
            ValueError: `other` has more rows of a label, or another width.
        """
        if not other.labels:
            return self
        labels = dict(self.labels)
        for label, gone in other.labels.items():
            had = labels.pop(label, None)
            if had is None or had.count < gone.count or self.width != other.width:
                raise ValueError(
                    f"wanted moments of rows that are among these; got {gone.count} of {label!r} "
                    f"with {other.width} features, there are {had.count if had else 0} with "
                    f"{self.width}"
                )
            if had.count > gone.count:
                labels[label] = LabelSums(
                    had.count - gone.count,
                    had.total - gone.total,
                    np.where(gone.minimum > had.minimum, had.minimum, np.nan),
                    np.where(gone.maximum < had.maximum, had.maximum, np.nan),
                )
        if not labels:
            return Moments.empty()
        return Moments(self.width, _sorted(labels), self.products - other.products)

    def to_bytes(self) -> bytes:
        """Packs the moments; equal moments give equal bytes, see `moments_bytes`."""
        return pack(self.width, self.labels, self.products)

    @staticmethod
    def from_bytes(packed: bytes | bytearray) -> Moments:
        """Unpacks what `to_bytes` made.

        Raises:
            OldMoments: an earlier version of this package made it; measure again.
            ValueError: the bytes are something else, cut short, or damaged.
        """
        return Moments(*unpack(packed))

    def _check_ranged(self) -> None:
        if labels := self.unranged:
            raise ValueError(f"wanted the ranges of the labels {labels}; rows were subtracted")


def measured_by_label(batches: Iterable[pa.RecordBatch]) -> Moments:
    """Moments of batches with the columns `features` (lists of numbers) and `label` (strings).

    Raises:
        InputError: features are null, not finite, or of different lengths.
    """
    return _measured((matrix(rows["features"]), rows["label"].to_pylist()) for rows in batches)


def _measured(
    tables: Iterable[tuple[NDArray[np.floating[Any]], Sequence[Label] | None]],
) -> Moments:
    sums: ProductSums | None = None
    for x, labels in _blocks(tables):
        if sums is None:
            sums = ProductSums(x.shape[1])
        sums.add(*_by_label(x, labels))
    if sums is None:
        return Moments.empty()
    products = sums.products()
    return Moments(sums.width, _sorted(sums.labels), products)


def _by_label(x: NDArray[Any], labels: list[Label]) -> tuple[NDArray[Any], dict[Label, slice]]:
    """The rows sorted by label, and the slice of each label."""
    rows: dict[Label, list[int]] = {}
    for number, label in enumerate(labels):
        rows.setdefault(label, []).append(number)
    order = [number for numbers in rows.values() for number in numbers]
    ends = np.cumsum([0, *map(len, rows.values())]).tolist()
    bounds = {label: slice(*ends[at : at + 2]) for at, label in enumerate(rows)}
    return (x if order == list(range(len(x))) else x[order]), bounds


def _sorted(labels: dict[Label, LabelSums]) -> dict[Label, LabelSums]:
    return dict(sorted(labels.items(), key=lambda item: (item[0] is not None, item[0] or "")))


def _extreme(of: np.ufunc, ranges: list[Array]) -> Array:
    """(d,) the minimum or the maximum of the values; NaN if any is unknown."""
    extreme: Array = of.reduce(ranges or [np.empty(0)])
    return extreme


def _scatter(count: int, width: int, total: Exact, products: Exact) -> Array:
    sum_low, sums = total.halves()
    # From here on, a word counts 2^24, and the first one of them all 2^(24 low).
    low = min(2 * sum_low, 2 * products.low)
    words = max(2 * (sum_low + len(sums)), 2 * (products.low + len(products.words))) - low + 3
    factors = sums.astype(np.float64)
    scatter = np.empty((width, width))
    starts = np.cumsum([0, *range(width, 0, -1)])  # of the rows in the packed triangle
    for first in range(0, width, _ROWS_AT_ONCE):
        last = min(first + _ROWS_AT_ONCE, width)
        block = np.zeros((words, last - first, width - first), np.int64)
        _, squares = Exact(products.low, products.words[:, starts[first] : starts[last]]).halves()
        own = block[2 * products.low - low :][: len(squares)]
        for row in range(last - first):
            start, end = starts[[first + row, first + row + 1]] - starts[first]
            own[:, row, row:] = squares[:, start:end]
            own[:, row:, row] = own[:, row, row : last - first]
        own *= count
        for place in range(2 * len(sums) - 1):
            pairs = range(max(0, place - len(sums) + 1), min(place, len(sums) - 1) + 1)
            left = factors[list(pairs), first:last]
            right = factors[[place - pair for pair in pairs], first:]
            # Products of 24 and 24 bits: the sum of 32 of them is exact in any order.
            block[2 * sum_low - low + place] -= (left.T @ right).astype(np.int64)
        carry(block, 24)
        scatter[first:last, first:] = to_float(block, 24 * low, 24)
        scatter[first:, first:last] = scatter[first:last, first:].T
    scatter /= max(count, 1)
    return scatter


def _blocks(
    tables: Iterable[tuple[NDArray[np.floating[Any]], Sequence[Label] | None]],
) -> Iterator[tuple[NDArray[Any], list[Label]]]:
    """Regroups arrays into blocks of `BLOCK_ROWS` rows; the last block may be shorter."""
    buffered: list[NDArray[Any]] = []
    names: list[Label] = []
    for x, labels in tables:
        own = [None] * len(x) if labels is None else list(labels)
        if len(own) != len(x):
            raise ValueError(f"wanted a label for each of {len(x)} rows, got {len(own)}")
        start = 0
        while start < len(x):
            end = min(len(x), start + BLOCK_ROWS - len(names))
            if buffered:
                check_widths(buffered[0].shape[1], x.shape[1])
            buffered.append(x[start:end])
            names += own[start:end]
            start = end
            if len(names) == BLOCK_ROWS:
                yield np.concatenate(buffered), names
                buffered, names = [], []
    if buffered:
        yield np.concatenate(buffered), names
