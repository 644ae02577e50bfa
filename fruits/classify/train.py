"""Chooses, fits and calibrates a classifier, from moments, folds, and features to score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fruits.classify.calibrate import fit_temperature, fit_threshold
from fruits.classify.choose import Choice, Fold, Trial, choose
from fruits.classify.evaluate import Evaluation, evaluation_of
from fruits.classify.fit import Discriminant, Measured
from fruits.classify.model import (
    Array,
    Classifier,
    Ints,
    Predictions,
    joined,
    label_indices,
    predictions_of,
    softmax,
)
from fruits.classify.tally import Tally
from fruits.reduction.blas import one_blas_thread

SCHEME = "grouped cross-validation"

SoftmaxFit = Callable[[int | None, Sequence[str], str], tuple[Array, Array]]
"""Fits a softmax regression to the training images.

It is called with the index in `folds` of the fold to leave out, or None; the c remaining labels;
and the transform of the features. It returns the (c, d) coefficients and the (c,) intercepts,
float64.
"""

DEFAULT_SHRINKAGE = 0.1
"""The shrinkage if no images can be held out, because the groups of every label share a fold."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of held-out images, each by a model that was fitted without its fold.

    Attributes:
        paths: The paths of the n images; empty if the folds have no paths.
        labels: The n true labels.
        predictions: The predictions, calibrated on the other folds. Indices are those of the final
            classifier's labels; the likelihood of a label that only this fold has is NaN.
    """

    paths: list[str]
    labels: list[str]
    predictions: Predictions


@dataclass(frozen=True, eq=False)
class Training:
    """The result of training.

    Attributes:
        classifier: The classifier, fitted to all images and calibrated on held-out images.
        trials: All trials.
        evaluation: The evaluation of the held-out images; None if no images could be held out.
        most_frequent: The label with the most images, for comparison.
        held_out: The predictions that were evaluated; None if there is no evaluation.
    """

    classifier: Classifier
    trials: list[Trial]
    evaluation: Evaluation | None
    most_frequent: str
    held_out: HeldOut | None = None


@one_blas_thread()
def train(
    moments: Mapping[str, Measured], folds: Sequence[Fold], fit_softmax: SoftmaxFit | None = None
) -> Training:
    """Trains a linear discriminant analysis, or a softmax regression with its calibration.

    The transform, the distances and the threshold of a softmax regression are those of the
    discriminant analysis, and `Training.trials` are its trials.

    Args:
        moments: the moments of all training images, for each transform to try; all images must have
            a label.
        folds: disjoint parts of the images, see `fruits.classify.groups`.
        fit_softmax: fits a softmax regression; None for a discriminant analysis.

    Raises:
        InputError: there are fewer than two labels, or all images have the same features.
    """
    usable = {
        number: fold
        for number, fold in enumerate(folds)
        if len(fold.labels) and _leaves_a_model(moments, fold)
    }
    first = next(iter(moments))
    if not usable:
        plain = Discriminant.of(moments[first])
        classifier = _refitted(plain.classifier(DEFAULT_SHRINKAGE, first), None, fit_softmax)
        return Training(classifier, [], None, plain.most_frequent)
    choice = choose(moments, list(usable.values()))
    chosen = choice.best
    discriminant = Discriminant.of(moments[chosen.transform])
    scores = _hold_out(discriminant.labels, usable, choice, fit_softmax)
    classifier = discriminant.classifier(
        chosen.shrinkage,
        chosen.transform,
        fit_temperature(scores.logits, scores.truth),
        fit_threshold(scores.distance),
        choice.distance_shrinkage,
    )
    held_out = HeldOut(
        [path for fold in usable.values() for path in fold.paths],
        [label for fold in usable.values() for label in fold.labels],
        _predictions(scores),
    )
    return Training(
        _refitted(classifier, None, fit_softmax),
        choice.trials,
        _evaluated(discriminant, held_out, scores.nearest),
        discriminant.most_frequent,
        held_out,
    )


def _refitted(classifier: Classifier, without: int | None, fit: SoftmaxFit | None) -> Classifier:
    """Replaces the coefficients by those of a softmax regression, if `fit` is given."""
    if fit is None:
        return classifier
    coefficients, intercept = fit(without, classifier.labels, classifier.transform)
    return replace(classifier, kind="softmax", coefficients=coefficients, intercept=intercept)


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of n held-out images; indices are those of the c labels of all images.

    Attributes:
        logits: (n, c), the only array of this size: with many labels, it is large.
        truth: (n,), -1 for a label that only the fold of the image has.
        distance: (n,), the distances to the nearest means of labels.
        nearest: (n,), the labels with the nearest means.
        folds: The rows of each fold.
    """

    logits: Array
    truth: Ints
    distance: Array
    nearest: Ints
    folds: list[slice]


def _hold_out(
    labels: Sequence[str],
    usable: Mapping[int, Fold],
    choice: Choice,
    fit: SoftmaxFit | None,
) -> _Scores:
    """Scores the images of each fold with the model without it."""
    chosen = choice.best
    ends = np.cumsum([0, *(len(fold.labels) for fold in usable.values())]).tolist()
    rows = [slice(*both) for both in pairwise(ends)]
    count = ends[-1]
    found = _Scores(
        logits=np.empty((count, len(labels))),
        truth=np.empty(count, np.int64),
        distance=np.empty(count),
        nearest=np.empty(count, np.int64),
        folds=rows,
    )
    for (number, fold), model, own in zip(usable.items(), choice.models, rows, strict=True):
        own_classifier = model.classifier(
            chosen.shrinkage, chosen.transform, distance_shrinkage=choice.distance_shrinkage
        )
        classifier = _refitted(own_classifier, number, fit)
        features = fold.features()
        logits = classifier.logits(features)
        columns = label_indices(labels, model.labels)
        # A label that only this fold has gets the smallest logit.
        found.logits[own] = logits.min(axis=1, keepdims=True)
        found.logits[own, columns] = logits
        truth = label_indices(labels, fold.labels)
        found.truth[own] = np.where(np.isin(truth, columns), truth, -1)
        found.distance[own] = classifier.distances(features)
        found.nearest[own] = columns[model.nearest_mean(features, chosen.transform)]
    return found


def _predictions(scores: _Scores) -> Predictions:
    """Predicts each fold with the temperature and the threshold of the other folds."""
    parts = []
    for own in scores.folds:
        others = np.ones(len(scores.truth), bool)
        others[own] = len(scores.folds) == 1
        temperature = fit_temperature(scores.logits, np.where(others, scores.truth, -1))
        chances = softmax(scores.logits[own] / temperature)
        threshold = fit_threshold(scores.distance[others])
        parts.append(predictions_of(chances, scores.distance[own], threshold, scores.truth[own]))
    return joined(parts)


def _evaluated(discriminant: Discriminant, held_out: HeldOut, nearest: Ints) -> Evaluation:
    predictions = held_out.predictions
    tally = Tally(discriminant.labels)
    tally.add(
        held_out.labels,
        predictions.predicted,
        predictions.confidence,
        predictions.top,
        predictions.likelihood,
        predictions.unknown,
        nearest,
    )
    return evaluation_of(
        tally,
        SCHEME,
        most_frequent=discriminant.most_frequent,
        counts=discriminant.counts,
    )


def _leaves_a_model(moments: Mapping[str, Measured], fold: Fold) -> bool:
    """Whether a model can be fitted without the fold: to two labels, and to images that differ."""
    total, gone = next(iter(moments.values())), next(iter(fold.moments.values()))
    first: Array | None = None
    labels = 0
    for label, sums in total.labels.items():
        less = gone.labels.get(label)
        count = sums.count - (less.count if less else 0)
        if count:
            left = sums.sum() - (less.sum() if less else 0)
            first = left / count if first is None else first
            labels += 1
            if not np.allclose(left / count, first):
                return True
    return labels >= 2 and float(np.trace(total.subtract(gone).scatter)) > 0
