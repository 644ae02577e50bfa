"""Small line charts as SVG, which use the colours of the page and can be printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fruits.wording import counted

WIDTH, HEIGHT = 640, 300
_RADIUS, _SMALLEST, _LARGEST = 4.0, 2.0, 9.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 28, 12, 44


@dataclass(frozen=True)
class Line:
    """A line of a chart, in pixels of the chart.

    Attributes:
        points: The value of the attribute ``points`` of an SVG polyline.
        dots: Each dot's x, y, radius and tooltip.
        name: The name of the line.
    """

    points: str
    dots: list[tuple[float, float, float, str]]
    name: str


@dataclass(frozen=True)
class Chart:
    """A chart for the template of the page.

    Attributes:
        title: The title for screen readers.
        lines: One or more lines.
        x_ticks: The position and text of each tick of the x axis.
        y_ticks: The position and text of each tick of the y axis.
        x_name: The name of the x axis.
        y_name: The name of the y axis.
        mark: The x of a dashed vertical line, or None.
    """

    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    x_name: str
    y_name: str
    mark: float | None = None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def scree(explained_variance: Sequence[float]) -> Chart | None:
    """The share of the variance that the first components hold together."""
    if not explained_variance:
        return None
    total = np.concatenate([[0.0], np.cumsum(explained_variance)])
    count = len(explained_variance)
    shown = np.unique(np.linspace(0, count, min(count, 400) + 1).astype(int))
    line = _line(shown / count, total[shown], "variance")
    few = count <= 40
    dots = [
        (_x(n / count), _y(total[n]), _RADIUS, f"{counted(n, 'component')}: {total[n]:.1%}")
        for n in range(1, count + 1)
        if few or n in {1, 2, 5, 10, 20, 50, 100, 200, 500, count}
    ]
    title = f"{counted(count, 'component')} explain {total[-1]:.1%} of the variance"
    if count == 1:
        title = title.replace("explain", "explains")
    else:
        title += f"; the first alone explains {total[1]:.1%}"
    return Chart(
        title,
        [Line(line.points, dots, line.name)],
        [(_x(n / count), f"{n:,}") for n in _round_ticks(count)],
        _percents(),
        "components",
        "share of the variance",
    )


def calibration(evaluations: Sequence[Mapping[str, Any]]) -> Chart | None:
    """The share of right labels by the confidence of the classifier.

    The area of a dot is the number of its images: the share of a few images is mostly chance.
    """
    lines = []
    most = max((b["images"] for one in evaluations for b in one.get("bins") or []), default=1)
    for one in evaluations:
        bins = one.get("bins") or []
        if bins:
            xs, ys = ([b[name] for b in bins] for name in ("confidence", "accuracy"))
            line = _line(np.array(xs), np.array(ys), one["scheme"])
            dots = [
                (
                    _x(b["confidence"]),
                    _y(b["accuracy"]),
                    _radius(b["images"] / most),
                    f"{counted(b['images'], 'image')}, confidence {b['confidence']:.0%}: "
                    f"{b['accuracy']:.0%} correct",
                )
                for b in bins
            ]
            lines.append(Line(line.points, dots, line.name))
    if not lines:
        return None
    diagonal = _line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "perfect calibration")
    return Chart(
        "Share of correct predictions by confidence; on the diagonal, both are equal",
        [diagonal, *lines],
        [(_x(n / 5), f"{20 * n}%") for n in range(6)],
        _percents(),
        "confidence",
        "share of correct predictions",
    )


def _round_ticks(largest: int) -> range:
    """At most six round numbers from 0 to the largest one: multiples of 1, 2 or 5 times 10^k."""
    steps = (digit * 10**zeros for zeros in range(len(str(largest))) for digit in (1, 2, 5))
    step = next(step for step in steps if largest // step < 6)
    return range(0, largest + 1, step)


def _radius(share: float) -> float:
    """The radius of a dot whose area is a share of the largest dot's, but can be seen."""
    return round(max(_SMALLEST, _LARGEST * math.sqrt(share)), 1)


def _percents() -> list[tuple[float, str]]:
    return [(_y(n / 4), f"{25 * n}%") for n in range(5)]


def _line(xs: Any, ys: Any, name: str) -> Line:
    pairs = zip(xs.tolist(), ys.tolist(), strict=True)
    return Line(" ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in pairs), [], name)


def _x(share: float) -> float:
    return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - _BOTTOM - min(share, 1) * (HEIGHT - _TOP - _BOTTOM), 1)
