"""Small line charts as SVG: they follow the colours of the page, and print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 28, 12, 40


@dataclass(frozen=True)
class Line:
    """A line of a chart, in its pixels.

    Attributes:
        points: for the attribute ``points`` of an SVG polyline.
        dots: x, y and what a dot says.
        name: of the line.
    """

    points: str
    dots: list[tuple[float, float, str]]
    name: str


@dataclass(frozen=True)
class Chart:
    """What the template draws.

    Attributes:
        title: read out by screen readers.
        lines: one or more.
        x_ticks: place and text.
        y_ticks: place and text.
        x_name: of the axis below.
        y_name: of the axis on the left.
        mark: x of a dashed vertical line, or None.
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
        (_x(n / count), _y(total[n]), f"{n} components hold {total[n]:.1%}")
        for n in range(1, count + 1)
        if few or n in {1, 2, 5, 10, 20, 50, 100, 200, 500, count}
    ]
    ticks = np.unique(np.linspace(0, count, 6).astype(int))
    return Chart(
        f"{count} components hold {total[-1]:.1%} of the variance; the first {total[1]:.1%}",
        [Line(line.points, dots, line.name)],
        [(_x(n / count), f"{n:,}") for n in ticks.tolist()],
        _percents(),
        "components",
        "share of the variance",
    )


def calibration(evaluations: Sequence[Mapping[str, Any]]) -> Chart | None:
    """How often labels are right, by how sure the classifier is."""
    lines = []
    for one in evaluations:
        bins = one.get("bins") or []
        if bins:
            xs, ys = ([b[name] for b in bins] for name in ("confidence", "accuracy"))
            line = _line(np.array(xs), np.array(ys), one["scheme"])
            dots = [
                (
                    _x(b["confidence"]),
                    _y(b["accuracy"]),
                    f"{b['images']:,} images, {b['confidence']:.0%} sure: "
                    f"{b['accuracy']:.0%} right",
                )
                for b in bins
            ]
            lines.append(Line(line.points, dots, line.name))
    if not lines:
        return None
    diagonal = _line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "as often right as sure")
    return Chart(
        "Share of right labels by confidence; on the diagonal, both are the same",
        [diagonal, *lines],
        [(_x(n / 5), f"{20 * n} %") for n in range(6)],
        _percents(),
        "confidence",
        "share of right labels",
    )


def _percents() -> list[tuple[float, str]]:
    return [(_y(n / 4), f"{25 * n} %") for n in range(5)]


def _line(xs: Any, ys: Any, name: str) -> Line:
    pairs = zip(xs.tolist(), ys.tolist(), strict=True)
    return Line(" ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in pairs), [], name)


def _x(share: float) -> float:
    return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - _BOTTOM - min(share, 1) * (HEIGHT - _TOP - _BOTTOM), 1)
