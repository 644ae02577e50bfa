"""The share of right predictions by the confidence of the classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fruits.classify.evaluate import BINS, Bin, Evaluation
from fruits.plots.style import INK, MARK, Array, new_figure, tidy
from fruits.wording import counted

# Colours that colour-blind people can distinguish; the markers differ too.
_STYLES = (("#3f90da", "o"), (MARK, "s"), ("#5b4a9e", "^"), ("#717581", "D"))


def calibration(evaluations: Sequence[Evaluation]) -> Figure:
    """A reliability diagram: the share of right labels and the number of images by confidence.

    On the diagonal, the confidence equals the share of right labels. Bars are the 95 % intervals
    of the shares. The legend has the expected calibration error (ECE).

    Args:
        evaluations: One or more evaluations, each in a colour.
    """
    figure = new_figure(7, 7)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":", label="perfect calibration")
    for number, one in enumerate(evaluations):
        colour, marker = _STYLES[number % len(_STYLES)]
        _draw_line(upper, one, colour, marker)
        _draw_counts(lower, one, colour, number, len(evaluations))
    upper.set(ylim=(-0.02, 1.02), ylabel="share of correct predictions")
    upper.set_title("Calibration: share of correct predictions by confidence,\nwith 95% intervals")
    lower.set(xlim=(0, 1.02), xlabel="confidence", ylabel="images, log scale", yscale="log")
    most = max((one.images for e in evaluations for one in e.bins), default=1)
    lower.set_ylim(0.7, max(2 * most, 10))
    figure.legend(loc="outside lower center", frameon=False)
    for axes in (upper, lower):
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        tidy(axes, grid="both")
    upper.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    lower.yaxis.set_major_formatter(lambda images, _: f"{images:,.0f}")
    return figure


def _draw_line(axes: Axes, evaluation: Evaluation, colour: str, marker: str) -> None:
    confidence = np.array([one.confidence for one in evaluation.bins])
    accuracy = np.array([one.accuracy for one in evaluation.bins])
    low, high = np.array([_interval(one) for one in evaluation.bins]).T
    axes.errorbar(
        confidence,
        accuracy,
        yerr=[accuracy - low, high - accuracy],
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.5,
        elinewidth=0.8,
        label=f"{evaluation.scheme}: {counted(evaluation.images, 'image')}, "
        f"ECE {evaluation.calibration_error:.3f}",
    )


def _draw_counts(axes: Axes, evaluation: Evaluation, colour: str, number: int, of: int) -> None:
    """Draws bars next to those of the other evaluations."""
    places = np.array([_place(one) for one in evaluation.bins])
    width = 0.8 / BINS / of
    axes.bar(
        (places + 0.1) / BINS + (number + 0.5) * width,
        [one.images for one in evaluation.bins],
        width=width,
        color=colour,
    )


def _place(one: Bin) -> int:
    return min(int(one.confidence * BINS), BINS - 1)


def _interval(one: Bin) -> Array:
    """Wilson's 95 % interval of the share of right labels, (2,)."""
    z, n, share = 1.96, one.images, one.accuracy
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return np.array([min(centre - half, share), max(centre + half, share)])
