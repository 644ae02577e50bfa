"""Shows figures as a table in the terminal, as JSON and as a plot."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Row = dict[str, Any]


def table(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> str:
    """Rows below a header; numbers are right-aligned, without meaningless digits."""
    cells = [list(head), *([_text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def write_json(content: Any, path: Path) -> None:
    """Writes the figures to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"figures in {path}")


def bars(
    title: str, panels: dict[str, dict[str, float]], path: Path, powers: Sequence[str] = ()
) -> None:
    """Draws horizontal bars: a panel for each kind of figure, with the same names in all panels.

    Args:
        title: the title of the picture.
        panels: the value for each name, by the label of the panel's axis.
        path: the PNG file to write.
        powers: the labels of the panels with a logarithmic axis.
    """
    names = list(next(iter(panels.values())))
    figure = Figure(figsize=(10, 1.2 + 0.38 * len(names)), layout="constrained", facecolor="white")
    figure.suptitle(title)
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (label, values) in zip(every, panels.items(), strict=True):
        colours = ["#bd1f01" if name.startswith("fruits") else "#3f90da" for name in names]
        drawn = axes.barh(names, [values[name] for name in names], color=colours, height=0.7)
        axes.bar_label(drawn, [_text(values[name]) for name in names], padding=4)
        axes.set(xlabel=label, xscale="log" if label in powers else "linear")
        if label in powers:
            axes.xaxis.set_major_formatter("{x:,g}")
            axes.xaxis.set_minor_formatter("")
        axes.margins(x=0.22)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#e6e8eb", linewidth=0.8)
        axes.set_axisbelow(True)
    every[0].invert_yaxis()
    figure.savefig(path, dpi=150)
    print(f"plot in {path}")


def _text(value: Any) -> str:
    if value is None or value == 0:
        return "-"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
