"""Fits the temperature and the threshold for unknown images to held-out images.

One temperature divides all logits: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern
Neural Networks", ICML 2017. The images must belong to groups that the classifier was not fitted to.
"""

from __future__ import annotations

import math

import numpy as np

from fruits.classify.blocks import row_blocks
from fruits.classify.model import Array, Ints

FALSE_ALARMS = 0.01
"""The share of images of known labels that may be reported as unknown."""

_LEAST_GAP = 1e-3
"""The temperature leaves at least this largest gap between two logits of an image, so that the most
probable label stays the most probable one even if no temperature is better than equal chances."""

_STEPS = 60

_TOLERANCE = 1e-9
"""The last relative step. Newton's method squares the error, so the error is smaller than that."""

_BLOCK = 1 << 22
"""The number of logits that are copied at a time."""


def fit_temperature(logits: Array, truth: Ints) -> float:
    """The temperature with the smallest log loss.

    The target probability of the true label is 1 - 1 / (n + 2), and the other labels share the rest
    (Platt's correction), so that a few correct images do not make the classifier certain.

    Args:
        logits: (n, c) float64.
        truth: (n,) int64, the indices of the true labels; images with -1 are ignored.

    Returns:
        The temperature; 1 if there are no images, or if the logits of each image are equal. It is
        proportional to the logits.
    """
    rows, labels = np.flatnonzero(truth >= 0), logits.shape[1]
    if rows.size == 0 or labels < 2:
        return 1.0
    # With many labels, a copy of all logits would be large.
    size = max(1, _BLOCK // labels)
    blocks = [rows[start : start + size] for start in range(0, rows.size, size)]
    rest = 1 / (rows.size + 2) / (labels - 1)
    wanted, gap = 0.0, 0.0
    for block in blocks:
        shifted = _shifted(logits[block])
        gap = max(gap, -float(shifted.min()))
        true = shifted[np.arange(len(block)), truth[block]]
        wanted += float(((1 - rest * labels) * true + rest * shifted.sum(axis=1)).sum())
    if gap == 0:
        return 1.0
    # The logits of LDA can be huge, so fixed bounds would be wrong. At the upper one, the slope of
    # the log loss is not negative: x exp(-x) <= 1/e limits the term of each label in `mean`.
    low, high = _LEAST_GAP / gap, rows.size * (labels - 1) / (math.e * -wanted)
    inverse = 1 / gap
    for _ in range(_STEPS):
        both = np.sum([_derivatives(logits, block, inverse) for block in blocks], axis=0)
        mean, bend = both.tolist()
        slope = mean - wanted  # The slope of the log loss, which is convex.
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        following = inverse - slope / bend if bend > 0 else math.inf
        # At the optimum, the slope is a rounding error, and its sign says nothing.
        if not low * (1 - _TOLERANCE) < following < high * (1 + _TOLERANCE):
            following = math.sqrt(low * high)
        inverse, before = following, inverse
        if abs(inverse - before) <= _TOLERANCE * inverse:
            break
    return 1 / inverse


def calibrated_loss(margins: Array) -> float:
    """The log loss of two labels with the temperature that fits them, which has no scale.

    Args:
        margins: (n,) float64, the logits of the true label minus those of the other one.

    Returns:
        The mean; 0 if there are no images.
    """
    if len(margins) == 0:
        return 0.0
    logits = np.stack([margins, np.zeros_like(margins)], axis=1)
    temperature = fit_temperature(logits, np.zeros(len(margins), np.int64))
    return float(np.logaddexp(0, -margins / temperature).mean())


def _shifted(logits: Array) -> Array:
    """Subtracts the largest logit of each row, in place."""
    logits -= logits.max(axis=1, keepdims=True)
    return logits


def _derivatives(logits: Array, block: Ints, inverse: float) -> tuple[float, float]:
    """The sums of the mean and of the variance of the logits of some rows."""
    means, squares = np.empty(len(block)), np.empty((len(block), logits.shape[1]))
    for rows in row_blocks(*squares.shape):
        shifted = _shifted(logits[block[rows]])
        chances = np.exp(shifted * inverse)  # The largest exponent is 0.
        chances /= chances.sum(axis=1, keepdims=True)
        means[rows] = (chances * shifted).sum(axis=1)
        np.square(shifted, out=shifted)
        np.multiply(shifted, chances, out=squares[rows])
    return float(means.sum()), float(squares.sum() - (means**2).sum())


def fit_threshold(distances: Array) -> float:
    """The distance that at most :data:`FALSE_ALARMS` of images of known labels exceed.

    Args:
        distances: (n,) float64, the distances of held-out images.

    Returns:
        The threshold; infinite if there are no images.
    """
    if len(distances) == 0:
        return math.inf
    return float(np.quantile(distances, 1 - FALSE_ALARMS, method="higher"))
