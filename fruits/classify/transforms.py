"""Transforms of features, row by row, before the classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TRANSFORMS = ("none", "sqrt", "sqrt-l2")
"""The transforms of features before the classifier.

"none" changes nothing; "sqrt" takes the signed square root of each feature; "sqrt-l2" also divides
by the Euclidean length.
"""

_ROWS_AT_ONCE = 32
"""Rows that are divided at once, so that they fit in the cache."""


def transform_features(
    features: NDArray[np.floating[Any]], transform: str
) -> NDArray[np.floating[Any]]:
    """Applies one of `TRANSFORMS` to (n, d) features, and keeps their type.

    The bits of a row do not depend on other rows. The signed square root is correctly rounded. With
    "sqrt-l2", a row of zeros does not change. See Perronnin, Sánchez and Mensink, "Improving the
    Fisher Kernel for Large-Scale Image Classification", ECCV 2010; and Arandjelović and Zisserman,
    "Three things everyone should know to improve object retrieval", CVPR 2012 (the Hellinger map).
    """
    if transform == "none":
        return features
    if transform not in TRANSFORMS:
        raise ValueError(f"transform: wanted one of {', '.join(TRANSFORMS)}; got {transform!r}")
    roots: NDArray[np.floating[Any]] = np.copysign(np.sqrt(np.abs(features)), features)
    return roots if transform == "sqrt" else _unit_rows(roots)


def _unit_rows(rows: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Divides (n, d) rows by their Euclidean lengths, and rounds to their type at the end."""
    units = np.empty(rows.shape, rows.dtype)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        # In this memory order, NumPy adds up every row in the same way, wherever it is.
        exact = np.array(rows[start : start + _ROWS_AT_ONCE], np.float64, order="C")
        lengths = np.sqrt((exact * exact).sum(axis=1, keepdims=True))
        lengths[lengths == 0] = 1
        units[start : start + _ROWS_AT_ONCE] = exact / lengths
    return units
