"""Fits the temperature and the threshold for unknown images to held-out images.

One temperature divides all logits: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern
Neural Networks", ICML 2017. The images must belong to groups that the classifier was not fitted to.
"""

from __future__ import annotations

import math

import numpy as np

from fruits.classify.model import Array, Ints, softmax

FALSE_ALARMS = 0.01
"""The share of images of known labels that may be reported as unknown."""

_BOUNDS = (1e-3, 1e3)
"""The bounds of the inverse of the temperature."""

_STEPS = 60


def fit_temperature(logits: Array, truth: Ints) -> float:
    """The temperature with the smallest log loss.

    The target probability of the true label is 1 - 1 / (n + 2), and the other labels share the rest
    (Platt's correction), so that a few correct images do not make the classifier certain.

    Args:
        logits: (n, c) float64.
        truth: (n,) int64, the indices of the true labels; images with -1 are ignored.

    Returns:
        The temperature; 1 if there are no images.
    """
    logits, truth = logits[truth >= 0], truth[truth >= 0]
    count, labels = logits.shape
    if count == 0 or labels < 2:
        return 1.0
    # With many labels, an array of this shape is large: three of them, used again, are enough.
    logits -= logits.max(axis=1, keepdims=True)
    products = np.empty_like(logits)
    rest = 1 / (count + 2) / (labels - 1)
    true = logits[np.arange(count), truth]
    wanted = float(((1 - rest * labels) * true + rest * logits.sum(axis=1)).sum())
    low, high = _BOUNDS
    inverse = 1.0
    for _ in range(_STEPS):
        chances = softmax(np.multiply(logits, inverse, out=products))
        np.multiply(chances, logits, out=products)
        means = products.sum(axis=1)
        slope = float(means.sum()) - wanted  # The slope of the log loss, which is convex.
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        np.square(logits, out=products)
        products *= chances
        del chances
        bend = float(products.sum() - (means**2).sum())
        following = inverse - slope / bend if bend > 0 else math.inf
        if not low < following < high:
            following = math.sqrt(low * high)
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    return 1 / inverse


def fit_threshold(distances: Array, rate: float = FALSE_ALARMS) -> float:
    """The distance that only a small share of images of known labels exceeds.

    Args:
        distances: (n,) float64, the distances of held-out images.
        rate: the share of images that may exceed it.

    Returns:
        The threshold; infinite if there are no images.
    """
    if len(distances) == 0:
        return math.inf
    return float(np.quantile(distances, 1 - rate, method="higher"))
