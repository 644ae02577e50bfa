"""Count, sums and range of the features of one label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.features.exact import Exact

Array = NDArray[np.float64]


@dataclass
class LabelSums:
    """Sums over the rows of one label.

    Attributes:
        count: The number of rows.
        total: (d,) the exact sums of the features.
        minimum: (d,) float64, the smallest features; NaN if unknown.
        maximum: (d,) float64, the largest features; NaN if unknown.
    """

    count: int
    total: Exact
    minimum: Array
    maximum: Array

    def sum(self) -> Array:
        """(d,) float64, the sums of the features."""
        return self.total.to_float()


def add_ranges(
    labels: dict[str | None, LabelSums],
    x: NDArray[np.floating[Any]],
    bounds: dict[str | None, slice],
) -> None:
    """Adds rows to the counts and ranges of their labels; sums of new labels are zeros.

    Args:
        labels: the sums of each label.
        x: (n, d) rows, n > 0.
        bounds: the slice of the rows of each label.
    """
    for label, rows in bounds.items():
        # Adding zero turns -0.0 into 0.0, whose choice would depend on the order.
        minimum = x[rows].min(axis=0).astype(np.float64) + 0.0
        maximum = x[rows].max(axis=0).astype(np.float64) + 0.0
        count = rows.stop - rows.start
        if known := labels.get(label):
            known.count += count
            known.minimum = np.minimum(known.minimum, minimum)
            known.maximum = np.maximum(known.maximum, maximum)
        else:
            labels[label] = LabelSums(count, Exact.zeros(x.shape[1]), minimum, maximum)
