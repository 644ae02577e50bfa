"""The scree plot: the variance that each component explains."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fruits.plots.style import ACCENT, INK, MARK, MUTED, Array, new_figure, tidy
from fruits.reduction.fit import RANK_TOLERANCE

SEPARATE_BARS = 60
"""The maximum number of separate bars; more bars would be thinner than their gaps."""


def scree(explained_variance: Array, components: int) -> Figure:
    """The share of the variance of each component, and the cumulative share.

    Components far beyond the chosen ones are left out.

    Args:
        explained_variance: The share of each component, descending, with sum 1, of shape (d,).
        components: The number of components of the run, from 1 to d.
    """
    rank = int(np.count_nonzero(explained_variance > RANK_TOLERANCE * explained_variance[0]))
    shown = min(max(20, math.ceil(1.3 * components)), max(rank, components))
    shares, cumulative = explained_variance[:shown], np.cumsum(explained_variance)[:shown]
    numbers = np.arange(1, shown + 1)
    kept = cumulative[components - 1]
    few = shown <= SEPARATE_BARS

    figure = new_figure(8, 5.5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    upper.plot(numbers, cumulative, color=INK, marker="o" if few else "", markersize=3.5)
    upper.plot(components, kept, "o", color=MARK, markersize=7, zorder=3)
    upper.set(
        ylim=(0, 1.04), ylabel="cumulative share of the variance", title="Variance by component"
    )
    before = components > (1 + shown) / 2
    upper.annotate(
        f"{components:,} components explain {kept:.1%} of the variance"
        if components > 1
        else f"1 component explains {kept:.1%} of the variance",
        # The curve is concave, so there is always space for text above or below the mark.
        (components, 0.06 if kept > 0.5 else 0.94),
        (-8 if before else 8, 0),
        textcoords="offset points",
        ha="right" if before else "left",
        va="center",
        color=MARK,
    )
    for start, stop, colour in ((0, components, ACCENT), (components, shown, MUTED)):
        if few:
            lower.bar(numbers[start:stop], shares[start:stop], color=colour)
        elif start < stop:
            lower.stairs(
                shares[start:stop], np.arange(start, stop + 1) + 0.5, fill=True, color=colour
            )
    lower.set(xlim=(0.3, shown + 0.7), xlabel="component", ylabel="share of each")
    lower.xaxis.set_major_locator(
        MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    if not few:  # On a linear scale, the first component would hide the others.
        smallest = max(shares[-1], 1e-6)
        lower.set(yscale="log", ylim=(10 ** math.floor(math.log10(smallest)), None))
        lower.set_ylabel("share of each, log scale")
    for axes in (upper, lower):
        axes.axvline(components, color=MARK, linewidth=1, linestyle="--", zorder=0)
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        tidy(axes, grid="y")
    return figure
