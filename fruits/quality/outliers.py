"""Finds images that are far from every label."""

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
    """Finds the images whose distance to all labels is above the classifier's threshold.

    Args:
        paths: The n paths.
        labels: The n labels.
        splits: The n sides of the split.
        distances: The Mahalanobis distances to the mean of the nearest label, (n,) float64.
        threshold: The threshold of the classifier; infinite if it has none.

    Returns:
        Findings, the largest score first. The score is the distance divided by the threshold. If
        the threshold is 0, there are no findings: the images of a label were all equal, so their
        distances are no measure for other images.
    """
    far = np.flatnonzero((distances > threshold) & (threshold > 0))
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
                f"distance to the nearest label: {distances[place] / threshold:.2f} times the "
                "threshold, which 99% of the held-out training images do not exceed"
            ),
        )
        for place in far[np.argsort(-distances[far], kind="stable")].tolist()
    ]
