"""Measures how far the images of one side of the split, or of one run, are from another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fruits.classify.model import Array
from fruits.features.moments import Moments
from fruits.quality.findings import Finding
from fruits.quality.gaussian import Gaussian, frechet_distance
from fruits.quality.sides import Side, sums_of_sides
from fruits.reduction.blas import one_blas_thread
from fruits.sources.naming import TRAIN
from fruits.wording import counted


@dataclass(frozen=True, eq=False)
class Cloud:
    """The images of one label.

    Attributes:
        count: The number of images.
        mean: The mean of their components, (k,) float64.
        spread: The root of the mean squared distance of the images from their mean.
    """

    count: int
    mean: Array
    spread: float


@one_blas_thread()
def drift_of_splits(
    batches: Iterable[pa.RecordBatch], sizes: Mapping[str, int], by_label: bool = True
) -> list[Finding]:
    """Measures how far the other sides of the split are from the training side.

    Args:
        batches: The label, split and components of the table ``pca``. They are read once.
        sizes: The number of images on each side.
        by_label: Whether the labels are compared, whose sums are in memory.

    Returns:
        A finding for each other side; and, with `by_label`, for each label whose mean is farther
        from the training mean than the training images of the label are on average. The farthest
        are first.
    """
    others = [side for side, count in sizes.items() if side != TRAIN and count > 1]
    if sizes.get(TRAIN, 0) < 2 or not others:
        return []
    sums = sums_of_sides(batches, {side: sizes[side] / sizes[TRAIN] for side in others}, by_label)
    train = sums.sides[TRAIN]
    found: list[Finding] = []
    for name in others:
        side = sums.sides[name]
        part, rest = (one.gaussian() for one in sums.by_chance[name])
        chance = frechet_distance(part, rest) / rest.spread if rest.spread else 0.0
        found += _of_all(side.gaussian(), train.gaussian(), name, TRAIN, chance)
        found += _of_labels(_clouds(side), _clouds(train), name, TRAIN)
    return farthest_first(found)


@one_blas_thread()
def drift_of_runs(
    now: Moments, before: Moments, weights: Array, offset: Array, side: str | None, name: str
) -> list[Finding]:
    """Measures how far the images of a run are from the training images of another run.

    Args:
        now: The moments of the features of this run.
        before: The moments of the other run.
        weights: The (d, k) float64 weights from features to components.
        offset: The (k,) float64 offset of the components.
        side: The side of the split of the images; None for all images.
        name: The name of the other run in the findings.

    Returns:
        Findings as from :func:`drift_of_splits`; none if both have the same images.
    """
    if min(now.count, before.count) < 2 or _same(now, before):
        return []
    one, other = (Gaussian.of(moments, weights, offset) for moments in (now, before))
    found = _of_all(one, other, side, name, None)
    mine = _clouds_of_moments(now, one, weights, offset)
    theirs = _clouds_of_moments(before, other, weights, offset)
    return farthest_first(found + _of_labels(mine, theirs, side, name))


def farthest_first(findings: list[Finding]) -> list[Finding]:
    """Sorts findings by score, with findings about all images first."""
    return sorted(findings, key=lambda one: (one.label is not None, -one.score, one.label or ""))


def _of_all(
    now: Gaussian, before: Gaussian, side: str | None, other: str, chance: float | None
) -> list[Finding]:
    if not before.spread:
        return []
    score = frechet_distance(now, before) / before.spread
    reason = f"distance from {other}: {score:.2f} times its spread"
    if chance is not None:
        reason += f" ({chance:.2f} expected by chance)"
    reason += f"; {counted(now.count, 'image')}, and {before.count:,} of {other}"
    return [Finding("drift", None, None, side, None, None, other, score, reason)]


def _of_labels(
    now: Mapping[str, Cloud], before: Mapping[str, Cloud], side: str | None, other: str
) -> list[Finding]:
    found = []
    for label in now.keys() & before.keys():
        one, another = now[label], before[label]
        score = _shift(one, another) / another.spread if another.spread else 0.0
        if score > 1:
            reason = (
                f"distance of the mean of {label} from that in {other}: {score:.1f} times the "
                f"spread of a label; {one.count:,} images, and {another.count:,} of {other}"
            )
            found.append(Finding("drift", None, label, side, None, label, other, score, reason))
    return found


def _shift(one: Cloud, other: Cloud) -> float:
    """The distance of two means, minus the expected one of two samples of one distribution."""
    difference = one.mean - other.mean
    expected = one.spread**2 / one.count + other.spread**2 / other.count
    return math.sqrt(max(float(difference @ difference) - expected, 0.0))


def _clouds(side: Side) -> dict[str, Cloud]:
    found = {}
    for label, sums in side.labels.items():
        mean = sums.total / sums.count
        square = max(sums.squares / sums.count - float(mean @ mean), 0.0)
        if sums.count > 1:
            found[label] = Cloud(
                sums.count, mean, math.sqrt(square * sums.count / (sums.count - 1))
            )
    return found


def _clouds_of_moments(
    moments: Moments, gaussian: Gaussian, weights: Array, offset: Array
) -> dict[str, Cloud]:
    """The labels with a common spread: moments have no covariance for each label."""
    # Images without a label are one more group, so their distance from the others is no spread.
    counts = {label: sums.count for label, sums in moments.labels.items()}
    means = {
        label: moments.labels[label].total.divided_by(count) @ weights + offset
        for label, count in counts.items()
    }
    between = sum(
        count * float(np.sum((means[label] - gaussian.mean) ** 2))
        for label, count in counts.items()
    )
    within = float(np.trace(gaussian.covariance)) * (gaussian.count - 1) - between
    spread = math.sqrt(max(within, 0.0) / max(gaussian.count - len(counts), 1))
    return {
        label: Cloud(count, means[label], spread)
        for label, count in counts.items()
        if label is not None and count > 1
    }


def _same(one: Moments, other: Moments) -> bool:
    """Whether both are moments of the same images: equal counts and equal means."""
    counts, others = ({label: s.count for label, s in m.labels.items()} for m in (one, other))
    if {None} in (counts.keys(), others.keys()):  # One of them has no sums of labels.
        counts, others = {None: one.count}, {None: other.count}
    return counts == others and np.array_equal(one.mean, other.mean)
