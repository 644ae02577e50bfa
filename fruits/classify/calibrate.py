"""The temperature and the threshold for unknown images, learned from held-out images.

One temperature divides all logits: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern
Neural Networks", ICML 2017. The images must be of groups that the classifier was not fitted to.
"""

from __future__ import annotations

import math

import numpy as np

from fruits.classify.model import Array, Ints, softmax

FALSE_ALARMS = 0.01
"""The share of images of known labels that may be called unknown."""

_BOUNDS = (1e-3, 1e3)
"""Of the inverse of the temperature."""

_STEPS = 60


def fit_temperature(logits: Array, truth: Ints) -> float:
    """The temperature with the smallest log loss.

    The true label counts as 1 - 1 / (n + 2), the others share the rest (Platt's correction), so
    that a few images that are all right do not make the classifier certain.

    Args:
        logits: (n, c) float64.
        truth: (n,) int64, the true labels; images of others (-1) are left out.

    Returns:
        The temperature; 1 where there are no images.
    """
    logits, truth = logits[truth >= 0], truth[truth >= 0]
    count, labels = logits.shape
    if count == 0 or labels < 2:
        return 1.0
    logits = logits - logits.max(axis=1, keepdims=True)
    rest = 1 / (count + 2) / (labels - 1)
    true = logits[np.arange(count), truth]
    wanted = float(((1 - rest * labels) * true + rest * logits.sum(axis=1)).sum())
    low, high = _BOUNDS
    inverse = 1.0
    for _ in range(_STEPS):
        chances = softmax(logits * inverse)
        means = (chances * logits).sum(axis=1)
        slope = float(means.sum()) - wanted  # of the log loss, which is convex
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        bend = float((chances * logits**2).sum() - (means**2).sum())
        following = inverse - slope / bend if bend > 0 else math.inf
        if not low < following < high:
            following = math.sqrt(low * high)
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    return 1 / inverse


def fit_threshold(distances: Array, rate: float = FALSE_ALARMS) -> float:
    """The distance that at most a share of images of known labels exceeds.

    Args:
        distances: (n,) float64, of images held out.
        rate: the share that may be above.

    Returns:
        The threshold; infinite where there are no images.
    """
    if len(distances) == 0:
        return math.inf
    return float(np.quantile(distances, 1 - rate, method="higher"))
