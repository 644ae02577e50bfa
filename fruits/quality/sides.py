"""Sums the components of each side of the split, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from fruits.classify.model import Array
from fruits.features.rows import matrix
from fruits.quality.gaussian import Gaussian
from fruits.sources.naming import TRAIN

# The fractional parts of its multiples are evenly distributed: they select rows by their number.
_GOLDEN = 0.6180339887498949


@dataclass
class ComponentSums:
    """Sums over the images of one label.

    Attributes:
        count: The number of images.
        total: The sum of their components, (k,) float64.
        squares: The sum of the squares of all their components.
    """

    count: int
    total: Array
    squares: float


@dataclass
class Side:
    """Sums over images in k components.

    Attributes:
        count: The number of images.
        total: The sum of their components, (k,) float64.
        products: The sum of x x^T, (k, k) float64.
        labels: The sums for each label, without the products.
    """

    count: int
    total: Array
    products: Array
    labels: dict[str, ComponentSums] = field(default_factory=dict)

    @classmethod
    def empty(cls, width: int) -> Side:
        """The sums over no images."""
        return cls(0, np.zeros(width), np.zeros((width, width)))

    def add(self, x: Array) -> None:
        """Adds (n, k) components."""
        self.count += len(x)
        self.total += x.sum(axis=0)
        self.products += x.T @ x

    def add_labels(self, x: Array, labels: pa.Array) -> None:
        """Adds (n, k) components to the sums of their n labels, except those without a label."""
        encoded = labels.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy()
        order = np.argsort(codes, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
        for rows in (rows for rows in parts if len(rows) and codes[rows[0]] >= 0):
            own, label = x[rows], encoded.dictionary[codes[rows[0]]].as_py()
            sums = self.labels.setdefault(label, ComponentSums(0, np.zeros(x.shape[1]), 0.0))
            sums.count += len(own)
            sums.total += own.sum(axis=0)
            sums.squares += float(np.sum(own * own))

    def gaussian(self) -> Gaussian:
        """The Gaussian of the images."""
        mean = self.total / max(self.count, 1)
        covariance = (self.products - self.count * np.outer(mean, mean)) / max(self.count - 1, 1)
        return Gaussian(self.count, mean, covariance)


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over each side of the split, and over random samples for comparison.

    Attributes:
        sides: The sums over each side, by name.
        by_chance: For each side other than training: the sums over a random sample of this and the
            training side, of the same size as this side; and the sums over the remaining images.
    """

    sides: dict[str, Side]
    by_chance: dict[str, tuple[Side, Side]]


def sums_of_sides(
    batches: Iterable[pa.RecordBatch], sizes: Mapping[str, float], by_label: bool = True
) -> Sums:
    """Adds up the components of the training side and of others.

    Args:
        batches: The label, split and pca of images.
        sizes: The sizes of the other sides, each divided by the size of the training side.
        by_label: Whether to add up the components of each label, too.
    """
    names = [TRAIN, *sizes]
    sums: Sums | None = None
    seen = 0
    for batch in batches:
        x = matrix(batch["pca"]).astype(np.float64)
        if sums is None:
            width = x.shape[1]
            sides = {name: Side.empty(width) for name in names}
            sums = Sums(sides, {n: (Side.empty(width), Side.empty(width)) for n in sizes})
        splits = np.array(batch["split"].to_pylist(), object)
        drawn = (np.arange(seen, seen + len(x)) * _GOLDEN) % 1
        seen += len(x)
        for name in names:
            own = splits == name
            sums.sides[name].add(x[own])
            if by_label:
                sums.sides[name].add_labels(x[own], batch["label"].filter(pa.array(own)))
        for name, (part, rest) in sums.by_chance.items():
            both = (splits == name) | (splits == TRAIN)
            chosen = drawn < sizes[name] / (1 + sizes[name])
            part.add(x[both & chosen])
            rest.add(x[both & ~chosen])
    if sums is None:
        raise ValueError("wanted components of two sides of the split; got no rows")
    return sums
