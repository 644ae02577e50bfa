"""Random features with labels and groups."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.classify.choose import Fold
from fruits.classify.groups import assign_folds
from fruits.classify.transforms import transform_features
from fruits.features.moments import Moments

Rows = NDArray[Any]


def drawn(
    rows: int = 400, width: int = 20, labels: int = 4, groups: int = 5, seed: int = 0
) -> tuple[Rows, list[str], list[str]]:
    """Features like those of a network, (rows, width) float32 >= 0; labels; groups with offsets."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, labels, rows)
    group = rng.integers(0, groups, rows)
    centres = rng.normal(size=(labels, width))
    shifts = 0.7 * rng.normal(size=(labels, groups, width))
    x = (
        centres[label]
        + shifts[label, group]
        + rng.normal(size=(rows, width)) @ (rng.normal(size=(width, width)) * 0.3)
    )
    names = [f"fruit {n}" for n in label]
    return (
        np.maximum(x, 0).astype(np.float32),
        names,
        [f"{one} {two}" for one, two in zip(label, group, strict=True)],
    )


def folds_of(
    x: Rows,
    labels: list[str],
    groups: list[str],
    transforms: tuple[str, ...] = ("none",),
    numbers: NDArray[np.int64] | None = None,
) -> tuple[dict[str, Moments], list[Fold]]:
    """The moments of all images, and folds with their features in memory."""
    numbers = assign_folds(groups, labels) if numbers is None else numbers
    total = {name: Moments.of(transform_features(x, name), labels) for name in transforms}
    folds = []
    for number in sorted(set(numbers.tolist()) - {-1}):
        own = x[numbers == number]
        names = [label for label, n in zip(labels, numbers, strict=True) if n == number]
        moments = {name: Moments.of(transform_features(own, name), names) for name in transforms}
        folds.append(Fold(moments, lambda own=own: own, names))  # type: ignore[misc]
    return total, folds
