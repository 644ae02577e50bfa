"""Images that are unlike those of every label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fruits.classify.model import Array
from fruits.quality.findings import Finding


def outliers(
    paths: Sequence[str],
    labels: Sequence[str | None],
    splits: Sequence[str | None],
    distances: Array,
    threshold: float,
) -> list[Finding]:
    """The images that are farther from all labels than the classifier's threshold.

    Args:
        paths: n paths.
        labels: n labels.
        splits: n sides of the split.
        distances: (n,) float64, Mahalanobis distances to the nearest label's mean.
        threshold: of the classifier; infinite where it has none.

    Returns:
        Findings whose score is the distance as a multiple of the threshold, the largest first.
    """
    far = np.flatnonzero(distances > threshold)
    return [
        Finding(
            kind="outlier",
            path=paths[place],
            label=labels[place],
            split=splits[place],
            other=None,
            other_label=None,
            other_split=None,
            score=float(distances[place]) / threshold,
            reason=(
                f"it is {distances[place] / threshold:.1f} times as far from the nearest label as "
                "99 % of the known images are"
            ),
        )
        for place in far[np.argsort(-distances[far], kind="stable")].tolist()
    ]
