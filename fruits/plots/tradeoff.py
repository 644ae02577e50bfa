"""The accuracy of networks against their cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import Bbox

from fruits.plots.style import ACCENT, INK, MARK, MUTED, font, new_figure, short, tidy, width

# The maximum number of letters of a name.
_LETTERS = 32
_SIZE = 9.0
# The size of a point, and the gap between it and its name, in pixels of the figure.
_POINT, _GAP = 8.0, 9.0
_ROWS = (0, 1, -1, 2, -2, 3, -3, 4, -4)

Places = Mapping[str, tuple[float, float]]


def tradeoff(networks: Places, best: str | None = None) -> Figure:
    """Accuracy against seconds per image, with a point for each network.

    A dashed line connects the Pareto front: networks for which no other one is both faster and at
    least as accurate.

    Args:
        networks: The seconds per image and the grouped accuracy of one or more networks, by name.
        best: The name of the network to mark.
    """
    places = {name: (1e3 * seconds, right) for name, (seconds, right) in networks.items()}
    figure = new_figure(8, 5.5)
    axes = figure.subplots()
    front = [places[name] for name in _front(places)]
    axes.plot(*zip(*front, strict=True), color=MUTED, linestyle="--", linewidth=1.2, zorder=1)
    for name, (milliseconds, right) in places.items():
        marker, colour = ("D", MARK) if name == best else ("o", ACCENT)
        axes.plot(milliseconds, right, marker, color=colour, markersize=8, zorder=3)
    _scale(axes, places)
    axes.set(
        xlabel="milliseconds an image on one core: read, decode, network; log scale",
        ylabel="accuracy, grouped cross-validation",
        title="Accuracy and cost of networks",
    )
    tidy(axes, grid="both")
    _write_names(axes, places, best)
    return figure


def _front(places: Places) -> list[str]:
    """The Pareto front of the networks, the fastest first."""
    found: list[str] = []
    for name in sorted(places, key=lambda one: (places[one][0], -places[one][1])):
        if not found or places[name][1] > places[found[-1]][1]:
            found.append(name)
    return found


def _scale(axes: Axes, places: Places) -> None:
    """Sets limits with space for the names, and ticks with plain numbers."""
    times, rights = zip(*places.values(), strict=True)
    axes.set_xscale("log")
    axes.set_xlim(min(times) / 2.2, max(times) * 2.2)
    room = max(0.12 * (max(rights) - min(rights)), 0.005)
    axes.set_ylim(min(rights) - room, max(rights) + room)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.yaxis.set_major_formatter(
        lambda share, _: f"{round(100 * share, 2):g}%" if share <= 1 else ""
    )


def _write_names(axes: Axes, places: Places, best: str | None) -> None:
    """Writes each name next to its point, where it overlaps names and points least."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # Computes the layout.
    points = {name: tuple(axes.transData.transform(place)) for name, place in places.items()}
    taken = [
        Bbox.from_bounds(x - _POINT / 2, y - _POINT / 2, _POINT, _POINT) for x, y in points.values()
    ]
    scale = axes.figure.dpi / 72
    for name in sorted(places, key=lambda one: points[one][1]):
        text = short(name, _LETTERS)
        size = width(text, font(_SIZE)) * scale, 1.3 * _SIZE * scale
        box, across, up = _free(points[name], size, axes.bbox, taken)
        taken.append(box)
        axes.annotate(
            text,
            places[name],
            (across / scale, up / scale),
            textcoords="offset points",
            ha="left" if across > 0 else "right",
            va="center",
            font=font(_SIZE),
            color=MARK if name == best else INK,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.7} if up else None,
            zorder=4,
        )


def _free(
    point: Sequence[float], size: tuple[float, float], inside: Bbox, taken: list[Bbox]
) -> tuple[Bbox, float, float]:
    """The position of a name with the fewest overlaps: its box and its offset from the point."""
    x, y = point
    wide, high = size
    best = None
    for row in _ROWS:
        for side in (1, -1):
            left = x + _GAP if side > 0 else x - _GAP - wide
            box = Bbox.from_bounds(left, y + row * high - high / 2, wide, high)
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1
            covered = box.count_overlaps(taken) + (0 if within else 10)
            if best is None or covered < best[0]:
                best = covered, box, side * _GAP, row * high
    assert best is not None
    return best[1:]
