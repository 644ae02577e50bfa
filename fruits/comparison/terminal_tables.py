"""A comparison of networks as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fruits.classify.train import SCHEME as GROUPED
from fruits.comparison.results import Comparison, Network, Tried
from fruits.errors import on_one_line

# The heading of a column has two lines.
Heading = tuple[str, str]


def text(comparison: Comparison) -> str:
    """The tables, the meaning of their figures, and the next command."""
    lines = [
        *_classifiers(comparison),
        "",
        *_explained(comparison),
        *_reductions(comparison),
        *_verdict(comparison),
    ]
    return "\n".join(map(on_one_line, lines))


def _classifiers(comparison: Comparison) -> Iterator[str]:
    """A line for each classifier of each network, and for each network that failed."""
    headings = [("network", ""), ("classifier", ""), ("accuracy", "grouped")]
    headings += [("accuracy", scheme) for scheme in comparison.splits]
    headings += [("log loss", "grouped"), ("ECE", "grouped"), ("ms an", "image")]
    headings += [("fit", "seconds"), ("features", ""), ("components", "")]
    headings += [("features", "MB"), ("predictor", "MB")]
    rows = [
        (network is comparison.best and tried is network.best, _cells(comparison, network, tried))
        for network in comparison.networks
        for tried in network.tried
    ]
    yield from _table(headings, [cells for _, cells in rows], [best for best, _ in rows], left=2)
    width = max(len(one.name) for one in comparison.networks)
    for network in comparison.failed:
        yield f"! {network.name:{width}}  failed: {network.error}"


def _cells(comparison: Comparison, network: Network, tried: Tried) -> list[str]:
    grouped = tried.figures(GROUPED)
    own = tried is network.best
    seconds = (network.fit_seconds or 0) + tried.seconds
    return [
        network.name,
        f"{tried.classifier}, {tried.transform}" if tried.transform else tried.classifier,
        _share(grouped.get("accuracy")),
        *(_share(tried.figures(scheme).get("accuracy")) for scheme in comparison.splits),
        _number(grouped.get("log_loss"), 3),
        _number(grouped.get("calibration_error"), 3),
        _number(network.image_seconds, 1, 1e3),
        _number(seconds, 1),
        _number(network.dimension, 0),
        _number(network.components, 0),
        _number(network.features_bytes, 1, 1e-6),
        _number(network.predictor_bytes, 1, 1e-6) if own else "",
    ]


def _explained(comparison: Comparison) -> Iterator[str]:
    """The meaning of the schemes, and the reasons for missing classifiers."""
    for scheme in (GROUPED, *comparison.splits):
        images = {
            figures["images"]
            for network in comparison.networks
            for tried in network.tried
            if (figures := tried.figures(scheme))
        }
        if images:
            counts = " or ".join(f"{count:,}" for count in sorted(images))
            name = "grouped" if scheme == GROUPED else scheme
            yield f"{name}: {_meaning(scheme)}; {counts} images"
    skipped = {one.skipped for network in comparison.networks for one in network.tried}
    for reason in sorted(filter(None, skipped)):
        yield f"no classifier: {reason}"
    yield "scaler and components do not change the classifier: it is fitted to the features"


def _meaning(scheme: str) -> str:
    if scheme == GROUPED:
        return "cross-validation that leaves out whole groups"
    return "the training images may have some of the same groups"


def _reductions(comparison: Comparison) -> Iterator[str]:
    """A line for each network, scaler and number of components, if there are several."""
    rows = [
        [
            network.name,
            one.scaler,
            f"{one.wanted}",
            "too many" if one.components is None else f"{one.components:,}",
            _share(one.explained_variance),
        ]
        for network in comparison.networks
        if len(network.reductions) > 1
        for one in network.reductions
    ]
    if rows:
        headings = [("network", ""), ("scaler", ""), ("components", "wanted")]
        headings += [("components", "number"), ("variance", "explained")]
        yield ""
        yield from _table(headings, rows, [False] * len(rows), left=2)
        yield "The runs use the first scaler and number."


def _verdict(comparison: Comparison) -> Iterator[str]:
    best = comparison.best
    yield ""
    if best is None:
        yield "No network is marked as the best: there is no grouped accuracy to compare."
        return
    yield f"* best by grouped accuracy: fruits serve --model {best.output}"


def _table(
    headings: Sequence[Heading], rows: Sequence[Sequence[str]], marked: Sequence[bool], left: int
) -> Iterator[str]:
    """Aligned columns, the first ones to the left, with a star before marked lines."""
    if not rows:
        return
    lines = [[first for first, _ in headings], [second for _, second in headings], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for mark, line in zip([False, False, *marked], lines, strict=True):
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield f"{'*' if mark else ' '} {'  '.join(cells)}".rstrip()


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _number(value: float | None, digits: int, factor: float = 1.0) -> str:
    # Adding 0 removes the sign of a negative zero.
    return "" if value is None else f"{round(value * factor, digits) + 0:,.{digits}f}"
