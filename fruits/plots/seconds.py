"""The seconds of a run by stage."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from fruits.plots.style import ACCENT, new_figure, tidy


def stage_seconds(seconds: Mapping[str, float]) -> Figure:
    """Bars with the seconds of each stage of a run.

    Args:
        seconds: The seconds by stage, in order. The title has the "total".
    """
    stages = {name: value for name, value in seconds.items() if name != "total"}
    total = seconds.get("total", sum(stages.values()))
    figure = new_figure(8, 0.8 + 0.34 * max(len(stages), 1))
    axes = figure.subplots()
    bars = axes.barh(list(stages), list(stages.values()), color=ACCENT, height=0.7)
    axes.bar_label(bars, [f"{value:,.1f}" for value in stages.values()], padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.set(xlabel="seconds", title=f"Seconds by stage: {total:,.1f} in total")
    axes.tick_params(axis="y", length=0)
    tidy(axes, grid="x")
    return figure
