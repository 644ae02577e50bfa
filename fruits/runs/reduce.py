"""The second step of a run: the scaler and the PCA, from the moments of the training images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fruits.features.moments import Moments
from fruits.reduction.fit import Reduction, fit_reduction
from fruits.runs.checks import degrees_turned
from fruits.runs.extract import Extracted
from fruits.runs.work import Work
from fruits.spark import measure

TRAIN = "train"


@dataclass(frozen=True)
class Reduced:
    """What the features are reduced by.

    Attributes:
        moments: what the scaler and the PCA were fitted to.
        reduction: both of them.
        side: "train" where only that side of the split was used; None for all images.
        measured: of the training images of this run; those of `moments`, unless a model is used.
        last: what the last run, or the model that is used, was fitted to; None where there is none.
        turned: how far the leading components have turned since the last run, in degrees, see
            :func:`fruits.reduction.fit.turned_degrees`; None where there is no last run.
    """

    moments: Moments
    reduction: Reduction
    side: str | None
    measured: Moments
    last: Moments | None
    turned: dict[str, float] | None


def reduce_features(work: Work, extracted: Extracted) -> Reduced:
    """Fits the scaler and the PCA, or takes those of the run whose model is used.

    Raises:
        InputError: there are fewer than two training images, or all have the same features.
        ConfigError: there cannot be so many components.
    """
    side = training_side(extracted.sides)
    with work.stages("fit"):
        moments = measure.moments(work.spark, work.store, side, work.chosen)
        extracted.require_rows(moments.count, side)
        last = work.basis or work.outputs.basis()
        fitted_to = work.basis.moments if work.basis else moments
        reduction = fit_reduction(fitted_to, work.config.scaler, work.config.components)
        turned = degrees_turned(last.moments, moments, reduction) if last else None
    before = last.moments if last else None
    return Reduced(fitted_to, reduction, side, moments, before, turned)


def training_side(sides: Mapping[str | None, int]) -> str | None:
    """The side of the split that is fitted to: "train", or None for all images.

    Images are divided where some are of the training side and others are not. Where none are, there
    is nothing else to learn from; where all are, nothing is left out.

    Args:
        sides: how many images are on each side.
    """
    return TRAIN if 0 < sides.get(TRAIN, 0) < sum(sides.values()) else None
