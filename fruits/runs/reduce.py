"""The second step of a run: fits the scaler and the PCA to the moments of the training images."""

from __future__ import annotations

from dataclasses import dataclass

from fruits.features.moments import Moments
from fruits.planning.label_memory import most_labels
from fruits.reduction.fit import Reduction, fit_reduction, turned_degrees
from fruits.runs.basis import read_basis
from fruits.runs.context import RunContext
from fruits.runs.extract import Extracted
from fruits.sources.naming import training_side
from fruits.tasks import measure_moments


@dataclass(frozen=True)
class Reduced:
    """The scaler and the PCA of a run.

    Attributes:
        moments: The moments that the scaler and the PCA were fitted to.
        reduction: The scaler and the PCA.
        side: "train" if only that side of the split was used; None for all images.
        measured: The moments of the training images of this run. They equal ``moments`` unless a
            model is used.
        last: The moments of the last run or of the model that is used; None if there is none.
        turned: The angles in degrees between the leading components of the images of this run and
            those of the last run or of the model that is used, see
            :func:`fruits.reduction.fit.turned_degrees`. None if there is neither, or if the images
            have no components.
    """

    moments: Moments
    reduction: Reduction
    side: str | None
    measured: Moments
    last: Moments | None
    turned: dict[str, float] | None


def reduce_features(context: RunContext, extracted: Extracted) -> Reduced:
    """Fits the scaler and the PCA, or takes them from the model that is used.

    Raises:
        InputError: There are fewer than two training images, or all have the same features.
        ConfigError: The number of components is too large.
    """
    side = training_side(extracted.sides)
    # With a model, nothing is fitted: only the sums of the new images are new.
    with context.stages("measure" if context.basis else "fit"):
        by_label = extracted.labels.num_rows <= most_labels(context.graph.dimension)
        moments = measure_moments.moments(
            context.workers, context.store, side, context.chosen, by_label
        )
        extracted.require_rows(moments.count, side)
        last = context.basis or read_basis(context.outputs.root)
        fitted_to = context.basis.moments if context.basis else moments
        reduction = fit_reduction(fitted_to, context.config.scaler, context.config.components)
        turned = turned_degrees(last.moments, moments, reduction) if last else None
    before = last.moments if last else None
    return Reduced(fitted_to, reduction, side, moments, before, turned)
