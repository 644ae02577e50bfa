"""Chooses, fits and calibrates a classifier, from moments, folds, and features to score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fruits.classify.calibrate import fit_temperature, fit_threshold
from fruits.classify.choose import Choice, Fold, Trial, choose
from fruits.classify.evaluate import Evaluation, evaluate
from fruits.classify.fit import Discriminant, Measured
from fruits.classify.model import (
    TOP,
    Array,
    Classifier,
    Ints,
    Predictions,
    label_indices,
    softmax,
    top_indices,
)
from fruits.reduction.blas import one_blas_thread

SCHEME = "grouped cross-validation"

SoftmaxFit = Callable[[int | None, Sequence[str], str], tuple[Array, Array]]
"""Fits a softmax regression to the training images, see :func:`train_softmax`."""

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
def train(moments: Mapping[str, Measured], folds: Sequence[Fold]) -> Training:
    """Trains a linear discriminant analysis.

    Args:
        moments: the moments of all training images, for each transform to try; all images must have
            a label.
        folds: disjoint parts of the images, see `fruits.classify.groups`.

    Raises:
        InputError: there are fewer than two labels, or all images have the same features.
    """
    return _train(moments, folds, None)


@one_blas_thread()
def train_softmax(
    moments: Mapping[str, Measured], folds: Sequence[Fold], fit: SoftmaxFit
) -> Training:
    """Trains a softmax regression, with the calibration and evaluation of :func:`train`.

    The transform, the distances and the threshold are those of the discriminant analysis that
    :func:`train` chooses; `Training.trials` are its trials.

    Args:
        moments: the moments of all training images, for each transform to try; all images must have
            a label.
        folds: disjoint parts of the images.
        fit: called with the index in `folds` of the fold to leave out, or None; the c remaining
            labels; and the transform of the features. It returns the (c, d) coefficients and the
            (c,) intercepts, float64.

    Raises:
        InputError: there are fewer than two labels, or all images have the same features.
    """
    return _train(moments, folds, fit)


def _train(
    moments: Mapping[str, Measured], folds: Sequence[Fold], fit: SoftmaxFit | None
) -> Training:
    usable = {
        number: fold
        for number, fold in enumerate(folds)
        if len(fold.labels) and _leaves_two_labels(moments, fold)
    }
    first = next(iter(moments))
    if not usable:
        plain = Discriminant.of(moments[first])
        classifier = _refitted(plain.classifier(DEFAULT_SHRINKAGE, first), None, fit)
        return Training(classifier, [], None, plain.most_frequent)
    choice = choose(moments, list(usable.values()))
    chosen = choice.best
    discriminant = Discriminant.of(moments[chosen.transform])
    scores = [
        _hold_out(discriminant.labels, model, fold, choice, number, fit)
        for (number, fold), model in zip(usable.items(), choice.models, strict=True)
    ]
    logits = np.concatenate([one.logits for one in scores])
    truth = np.concatenate([one.truth for one in scores])
    distances = np.concatenate([one.distance for one in scores])
    classifier = discriminant.classifier(
        chosen.shrinkage,
        chosen.transform,
        fit_temperature(logits, truth),
        fit_threshold(distances),
        choice.distance_shrinkage,
    )
    del logits  # As large as the predictions that follow.
    held_out = HeldOut(
        [path for fold in usable.values() for path in fold.paths],
        [label for fold in usable.values() for label in fold.labels],
        _predictions(scores),
    )
    return Training(
        _refitted(classifier, None, fit),
        choice.trials,
        _evaluated(discriminant, held_out, np.concatenate([one.nearest for one in scores])),
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
    """Scores of held-out images; indices are those of the labels of all images."""

    logits: Array
    truth: Ints
    distance: Array
    nearest: Ints


def _hold_out(
    labels: Sequence[str],
    model: Discriminant,
    fold: Fold,
    choice: Choice,
    number: int,
    fit: SoftmaxFit | None,
) -> _Scores:
    chosen = choice.best
    own_classifier = model.classifier(
        chosen.shrinkage, chosen.transform, distance_shrinkage=choice.distance_shrinkage
    )
    classifier = _refitted(own_classifier, number, fit)
    features = fold.features()
    own = classifier.logits(features)
    columns = label_indices(labels, model.labels)
    # A label that only this fold has gets the smallest logit.
    logits = np.repeat(own.min(axis=1, keepdims=True), len(labels), axis=1)
    logits[:, columns] = own
    truth = label_indices(labels, fold.labels)
    truth[~np.isin(truth, columns)] = -1
    nearest = columns[model.nearest_mean(features, chosen.transform)]
    return _Scores(logits, truth, classifier.distances(features), nearest)


def _predictions(scores: Sequence[_Scores]) -> Predictions:
    """Predicts each fold with the temperature and the threshold of the other folds."""
    chances, unknown = [], []
    for number, own in enumerate(scores):
        others = [one for at, one in enumerate(scores) if at != number] or [own]
        temperature = fit_temperature(
            np.concatenate([one.logits for one in others]),
            np.concatenate([one.truth for one in others]),
        )
        threshold = fit_threshold(np.concatenate([one.distance for one in others]))
        chances.append(softmax(own.logits / temperature))
        unknown.append(own.distance > threshold)
    probabilities = np.concatenate(chances)
    best = top_indices(probabilities, min(TOP, probabilities.shape[1]))
    truth = np.concatenate([one.truth for one in scores])
    rows = np.arange(len(truth))
    top = np.take_along_axis(probabilities, best, axis=1)
    return Predictions(
        predicted=best[:, 0],
        confidence=top[:, 0],
        top=best,
        top_probability=top,
        distance=np.concatenate([one.distance for one in scores]),
        unknown=np.concatenate(unknown),
        likelihood=np.where(truth >= 0, probabilities[rows, truth], np.nan),
    )


def _evaluated(discriminant: Discriminant, held_out: HeldOut, nearest: Ints) -> Evaluation:
    predictions = held_out.predictions
    return evaluate(
        SCHEME,
        discriminant.labels,
        held_out.labels,
        predicted=predictions.predicted,
        confidence=predictions.confidence,
        top=predictions.top,
        likelihood=predictions.likelihood,
        most_frequent=discriminant.most_frequent,
        unknown=predictions.unknown,
        nearest=nearest,
    )


def _leaves_two_labels(moments: Mapping[str, Measured], fold: Fold) -> bool:
    """Whether a model can be fitted without the fold, which needs two labels."""
    total, gone = next(iter(moments.values())), next(iter(fold.moments.values()))
    left = [
        label
        for label, sums in total.labels.items()
        if label not in gone.labels or gone.labels[label].count < sums.count
    ]
    return len(left) >= 2
