"""One pass over a feature column: exact counts, sums and products, for all rows and for each label.

Everything that the scalers, the PCA and the classifier have to know about the features is in
`Moments`, so the table of features is read once, whatever is fitted afterwards. The sums are exact
(`fruits.features.products`): merged in any order, over any cuts into chunks, or with rows added and
taken off again, they are the same, bit for bit. So whatever is fitted depends on the *set* of
images alone. Results are rounded once, at the end, after the mean was taken off exactly: a mean far
larger than the spread does no harm.
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
from fruits.features.products import BLOCK_ROWS, Array, LabelSums, ProductSums
from fruits.features.rows import check_widths, matrix

Label = str | None

_ROWS_AT_ONCE = 32
"""Rows of the scatter that are computed at once: a few megabytes, which stay in the cache."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Exact sums over n rows of d features.

    Attributes:
        width: d.
        labels: of each label, sorted, None (no label) first: count, sums and range of its rows.
        products: the sums of all x_i x_j with i <= j, by rows.

    The results below are float64, good to a unit or two in the last place. A feature that never
    changes has exactly its value as its mean, and zeros in the scatter.
    """

    width: int
    labels: dict[Label, LabelSums]
    products: Exact

    @classmethod
    def empty(cls) -> Moments:
        """No rows, of any width: merging it changes nothing."""
        return cls(0, {}, Exact.zeros(0))

    @classmethod
    def of(cls, x: NDArray[np.floating[Any]], labels: Sequence[Label] | None = None) -> Moments:
        """Moments of the rows of `x`, (n, d) float32 or float64, with n labels, or without.

        Raises:
            InputError: a feature is NaN, infinite, or a float64 beyond all reason.
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
        """(d,) in the units of the features, rounded once: a constant is its own mean."""
        return self.total.divided_by(max(self.count, 1))

    @cached_property
    def minimum(self) -> Array:
        """(d,) in the units of the features.

        Raises:
            ValueError: it has to be found again, see `unranged`.
        """
        self._check_ranged()
        return _lowest(self.labels)

    @cached_property
    def maximum(self) -> Array:
        """(d,), as `minimum`."""
        self._check_ranged()
        return _highest(self.labels)

    @cached_property
    def scatter(self) -> Array:
        """(d, d), symmetric: the sum over the rows of (x - mean)(x - mean)^T, in squared units.

        Divided by n - 1 it is the sample covariance. n times it is n sum x x^T - (sum x)(sum x)^T:
        whole numbers of some 24 bits each are multiplied and subtracted, and only then rounded.
        """
        return _scatter(self.count, self.width, self.total, self.products)

    @property
    def unranged(self) -> list[Label]:
        """Labels of which rows were taken off that were at the end of a range.

        Their `minimum` and `maximum` are NaN where that happened; give them those of the rows that
        stay, by `with_range`.
        """
        return [
            label
            for label, sums in self.labels.items()
            if np.isnan(sums.minimum).any() or np.isnan(sums.maximum).any()
        ]

    def with_range(self, label: Label, minimum: Array, maximum: Array) -> Moments:
        """The same moments with the range of one label, (d,) each, which was found again."""
        # Plus zero: a zero has no sign.
        ranged = replace(self.labels[label], minimum=minimum + 0.0, maximum=maximum + 0.0)
        return replace(self, labels=self.labels | {label: ranged})

    def merge(self, other: Moments) -> Moments:
        """Moments of the rows of both.

        Raises:
            InputError: the two are of different widths.
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
        """Moments of the rows without those of `other`, which must be among them.

        All sums are those that measuring the rows that stay would give. The range of a label is
        kept where no row at its end was taken off, see `unranged`.

        Raises:
            ValueError: there are more rows of a label in `other`, or of another width.
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
        """Pack: equal moments into equal bytes, see `fruits.features.moments_file`."""
        from fruits.features.moments_file import pack

        return pack(self)

    @staticmethod
    def from_bytes(packed: bytes | bytearray) -> Moments:
        """Unpack what `to_bytes` made.

        Raises:
            OldMoments: an earlier version of this package made it: measure again.
            ValueError: the bytes are something else, cut short, or damaged.
        """
        from fruits.features.moments_file import unpack

        return unpack(packed)

    def _check_ranged(self) -> None:
        if labels := self.unranged:
            raise ValueError(f"wanted the ranges of the labels {labels}, of which rows are gone")


def measured(columns: Iterable[pa.Array]) -> Moments:
    """Moments of all rows of some list arrays; how they are cut into arrays has no influence.

    Raises:
        InputError: rows are null, not finite, or of different lengths.
    """
    return _measured((matrix(column), None) for column in columns)


def measured_by_label(batches: Iterable[pa.RecordBatch]) -> Moments:
    """Moments of batches with the columns `features`, of lists of numbers, and `label`, of strings.

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
    """The rows in the order of their labels, and where each label's are."""
    rows: dict[Label, list[int]] = {}
    for number, label in enumerate(labels):
        rows.setdefault(label, []).append(number)
    order = [number for numbers in rows.values() for number in numbers]
    ends = np.cumsum([0, *map(len, rows.values())]).tolist()
    bounds = {label: slice(*ends[at : at + 2]) for at, label in enumerate(rows)}
    return (x if order == list(range(len(x))) else x[order]), bounds


def _sorted(labels: dict[Label, LabelSums]) -> dict[Label, LabelSums]:
    return dict(sorted(labels.items(), key=lambda item: (item[0] is not None, item[0] or "")))


def _lowest(labels: dict[Label, LabelSums]) -> Array:
    """(d,) the smallest of the minima; NaN where one is not known."""
    lowest: Array = np.minimum.reduce([s.minimum for s in labels.values()] or [np.empty(0)])
    return lowest


def _highest(labels: dict[Label, LabelSums]) -> Array:
    highest: Array = np.maximum.reduce([s.maximum for s in labels.values()] or [np.empty(0)])
    return highest


def _scatter(count: int, width: int, total: Exact, products: Exact) -> Array:
    sum_low, sums = total.halves()
    product_low, squares = products.halves()
    # From here on, a word counts 2^24, and the first one of them all 2^(24 low).
    low = min(2 * sum_low, product_low)
    ends = (2 * sum_low + 2 * len(sums), product_low + len(squares))
    words = max(ends) - low + 3
    factors = sums.astype(np.float64)
    scatter = np.zeros((width, width))
    starts = np.cumsum([0, *range(width, 0, -1)])  # of the rows in the packed triangle
    for first in range(0, width, _ROWS_AT_ONCE):
        last = min(first + _ROWS_AT_ONCE, width)
        block = np.zeros((words, last - first, width - first), np.int64)
        own = block[product_low - low :][: len(squares)]
        for row in range(first, last):
            own[:, row - first, row - first :] = squares[:, starts[row] : starts[row + 1]]
        own *= count
        for place in range(2 * len(sums) - 1):
            pairs = range(max(0, place - len(sums) + 1), min(place, len(sums) - 1) + 1)
            left = factors[list(pairs), first:last]
            right = factors[[place - pair for pair in pairs], first:]
            # 24 and 24 bits: exact for 32 words, in whatever order they are added.
            block[2 * sum_low - low + place] -= (left.T @ right).astype(np.int64)
        carry(block, 24)
        scatter[first:last, first:] = to_float(block, 24 * low, 24)
    scatter /= max(count, 1)
    upper = np.triu(scatter)  # below the diagonal of a block are no sums
    return upper + np.triu(upper, 1).T


def _blocks(
    tables: Iterable[tuple[NDArray[np.floating[Any]], Sequence[Label] | None]],
) -> Iterator[tuple[NDArray[Any], list[Label]]]:
    """Regroup arrays of any number of rows into those of BLOCK_ROWS; the last may be shorter."""
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
