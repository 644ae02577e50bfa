"""Arrays of exact binary numbers: sums of floating-point products without rounding errors.

A number is `sum over k of words[k] * 2^(48 * (low + k))`, where the words are signed integers of 48
bits. Sums and differences are exact, so their order has no influence. Every value has only one
representation: equal values have equal words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

WORD_BITS = 48
"""Bits of a word: 15 bits of an int64 remain for carries, and half a word times a count fits."""

_AT_ONCE = 1 << 14
"""Numbers that are added at once, to stay in the cache."""

_MASK = (1 << WORD_BITS) - 1

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Exact:
    """An array of m exact numbers.

    Attributes:
        low: The exponent of the first word, as a power of 2^48.
        words: (k, m) int64, each in [-2^47, 2^47), the lowest first. The first and the last row
            are never all zeros, so zeros have no words.
    """

    low: int
    words: Ints

    def equals(self, other: Exact) -> bool:
        """Whether all numbers are the same."""
        return self.low == other.low and np.array_equal(self.words, other.words)

    @classmethod
    def zeros(cls, size: int) -> Exact:
        """`size` zeros."""
        return cls(0, np.zeros((0, size), np.int64))

    @classmethod
    def sum_of(cls, size: int, terms: Iterable[tuple[Ints, int]]) -> Exact:
        """The sum of terms `values * 2^exponent`, where values are (size,) int64."""
        cut = [(values, *divmod(exponent, WORD_BITS)) for values, exponent in terms]
        low = min((place for _, place, _ in cut), default=0)
        high = max((place for _, place, _ in cut), default=0)
        words = np.zeros((high - low + 4, size), np.int64)
        for start in range(0, size, _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            for values, place, shift in cut:
                # Bits that are shifted out of the word belong to the next words.
                upper = values[some] >> (WORD_BITS - shift)
                own = words[place - low :, some]
                own[0] += (values[some] << shift) & _MASK
                own[1] += upper & _MASK
                own[2] += upper >> WORD_BITS
        return cls._carried(low, words)

    def __add__(self, other: Exact) -> Exact:
        return self._plus(other, 1)

    def __sub__(self, other: Exact) -> Exact:
        return self._plus(other, -1)

    def to_float(self) -> NDArray[np.float64]:
        """(m,) float64, rounded, with an error of at most one unit in the last place."""
        return to_float(self.words, WORD_BITS * self.low, WORD_BITS)

    def divided_by(self, count: int) -> NDArray[np.float64]:
        """(m,) float64: the numbers divided by an integer, rounded once."""
        totals = [0] * self.words.shape[1]
        for word in self.words[::-1].tolist():
            totals = [(total << WORD_BITS) + own for total, own in zip(totals, word, strict=True)]
        shift = WORD_BITS * self.low
        divisor = count << max(-shift, 0)
        # Python divides integers of any length with one rounding.
        return np.array([(total << max(shift, 0)) / divisor for total in totals], np.float64)

    def halves(self) -> tuple[int, Ints]:
        """The same numbers in words of 24 bits: the first exponent of 2^24; (k, m) int64."""
        half = WORD_BITS // 2
        upper = (self.words + (1 << (half - 1))) >> half
        halves = np.empty((2 * len(self.words), self.words.shape[1]), np.int64)
        halves[0::2], halves[1::2] = self.words - (upper << half), upper
        return 2 * self.low, halves if len(halves) == 0 or halves[-1].any() else halves[:-1]

    def _plus(self, other: Exact, sign: int) -> Exact:
        if len(other.words) == 0:
            return self
        if len(self.words) == 0 and sign > 0:
            return other
        ends = [one.low + len(one.words) for one in (self, other) if len(one.words)]
        low = min(one.low for one in (self, other) if len(one.words))
        words = np.zeros((max(ends) - low + 1, self.words.shape[1]), np.int64)
        words[self.low - low :][: len(self.words)] = self.words
        words[other.low - low :][: len(other.words)] += sign * other.words
        return self._carried(low, words)

    @classmethod
    def _carried(cls, low: int, words: Ints) -> Exact:
        """Carries overflow to the next word; the last word must have room for it."""
        for start in range(0, words.shape[1], _AT_ONCE):
            carry(words[:, start : start + _AT_ONCE], WORD_BITS)
        used = np.flatnonzero(words.any(axis=1))
        if len(used) == 0:
            return cls.zeros(words.shape[1])
        return cls(low + int(used[0]), words[used[0] : used[-1] + 1])


def carry(words: Ints, bits: int) -> None:
    """Brings all words but the last, (k, ...) int64, into [-2^(bits-1), 2^(bits-1)), in place."""
    for lower, upper in pairwise(words):
        over = (lower + (1 << (bits - 1))) >> bits
        upper += over
        over <<= bits
        lower -= over


def to_float(words: Ints, exponent: int, bits: int) -> NDArray[np.float64]:
    """Rounds carried words, (k, ...) int64 of `bits` bits; the first has the unit 2^exponent."""
    total = np.zeros(words.shape[1:])
    for number, word in enumerate(words):
        # From the lowest word: only the rounding error of the last addition matters.
        total += word * 2.0 ** (exponent + bits * number)
    return total
