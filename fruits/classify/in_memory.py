"""Folds of training images that all fit in memory, without Spark and without exact sums.

The moments are float64 sums over rows sorted by path, so they also depend only on the set of
images. Results agree with those of exact moments, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.classify.choose import Fold
from fruits.classify.groups import TRAIN_ONLY
from fruits.classify.model import Array
from fruits.classify.transforms import transform_features


@dataclass(frozen=True, eq=False)
class RowsOfLabel:
    """The number of rows of a label, and the (d,) float64 sum of their features."""

    count: int
    total: Array

    def sum(self) -> Array:
        """The sum of the features."""
        return self.total


@dataclass(frozen=True, eq=False)
class RowMoments:
    """Moments of some rows in memory: a :class:`fruits.classify.fit.Measured`.

    Attributes:
        features: (n, d) float32, the untransformed features of all rows.
        names: (n,) the labels of all rows.
        transform: The transform to apply, one of `fruits.classify.transforms.TRANSFORMS`.
        chosen: (n,) bool, whether a row belongs to these moments.
    """

    features: NDArray[np.floating[Any]]
    names: NDArray[np.str_]
    transform: str
    chosen: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """The number of chosen rows."""
        return int(np.count_nonzero(self.chosen))

    @cached_property
    def labels(self) -> dict[str | None, RowsOfLabel]:
        """Count and sum of the rows of each label, sorted by label."""
        names, rows = self.names[self.chosen], self._rows()
        order = np.argsort(names, kind="stable")
        known, starts = np.unique(names[order], return_index=True)
        found: dict[str | None, RowsOfLabel] = {}
        for label, own in zip(known.tolist(), np.split(order, starts[1:]), strict=False):
            found[label] = RowsOfLabel(len(own), rows[own].sum(axis=0))
        return found

    @property
    def mean(self) -> Array:
        """(d,) float64, the mean of the chosen rows."""
        return self._mean_and_scatter[0]

    @property
    def scatter(self) -> Array:
        """(d, d) float64: the sum over the rows of (x - mean)(x - mean)^T."""
        return self._mean_and_scatter[1]

    def subtract(self, other: RowMoments) -> RowMoments:
        """The moments of these rows without the rows of another one."""
        return RowMoments(self.features, self.names, self.transform, self.chosen & ~other.chosen)

    @cached_property
    def _mean_and_scatter(self) -> tuple[Array, Array]:
        # Both from one copy of the rows, which is not kept.
        rows = self._rows()
        mean: Array = rows.mean(axis=0)
        rows -= mean
        return mean, rows.T @ rows

    def _rows(self) -> Array:
        return transform_features(self.features[self.chosen], self.transform).astype(np.float64)


def folds_in_memory(
    features: NDArray[np.floating[Any]],
    labels: Sequence[str],
    paths: Sequence[str],
    fold_of: NDArray[np.int64],
    transforms: Sequence[str],
) -> tuple[dict[str, RowMoments], list[Fold]]:
    """The arguments of :func:`fruits.classify.train.train`.

    Args:
        features: (n, d) float32, the features of the training images, sorted by path.
        labels: their n labels.
        paths: their n paths.
        fold_of: (n,) the fold of each, `TRAIN_ONLY` if it is never tested.
        transforms: the transforms to try.

    Returns:
        The moments of all images, for each transform; and the folds, in order.
    """
    names = np.array(labels)

    def moments(chosen: NDArray[np.bool_]) -> dict[str, RowMoments]:
        return {one: RowMoments(features, names, one, chosen) for one in transforms}

    folds = []
    for fold in (number for number in np.unique(fold_of).tolist() if number != TRAIN_ONLY):
        chosen = fold_of == fold
        some = np.flatnonzero(chosen).tolist()
        folds.append(
            Fold(
                moments(chosen),
                partial(features.__getitem__, chosen),
                [labels[row] for row in some],
                [paths[row] for row in some],
            )
        )
    return moments(np.ones(len(labels), bool)), folds
