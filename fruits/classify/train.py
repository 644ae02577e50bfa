"""Choose, calibrate and fit: from moments, their folds, and features to score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fruits.classify.calibrate import fit_temperature, fit_threshold
from fruits.classify.choose import Fold, Trial, choose
from fruits.classify.evaluate import Evaluation, evaluate
from fruits.classify.fit import Discriminant, Measured
from fruits.classify.model import (
    TOP,
    Array,
    Classifier,
    Ints,
    Predictions,
    places_of,
    ranked,
    softmax,
)

SCHEME = "grouped cross-validation"

SoftmaxFit = Callable[[int | None, Sequence[str], str], tuple[Array, Array]]
"""Fits a softmax regression to the training images, see :func:`train_softmax`."""

DEFAULT_SHRINKAGE = 0.1
"""Where nothing can be held out: every label has one group only."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What was said of each image that was held out, by a model that was fitted without its fold.

    Attributes:
        paths: of the n images; empty if the folds have none.
        labels: their n labels.
        predictions: calibrated by the other folds; places are those of the final classifier's
            labels, and a label that no other fold has counts as improbable (0).
    """

    paths: list[str]
    labels: list[str]
    predictions: Predictions


@dataclass(frozen=True, eq=False)
class Training:
    """What came out.

    Attributes:
        classifier: fitted to all images, calibrated on those that were held out.
        trials: all that was tried.
        evaluation: of the images held out; None where none could be.
        most_frequent: the label of most images, for comparison.
        held_out: what the evaluation is of, image by image; None where that is None.
    """

    classifier: Classifier
    trials: list[Trial]
    evaluation: Evaluation | None
    most_frequent: str
    held_out: HeldOut | None = None


def train(moments: Mapping[str, Measured], folds: Sequence[Fold]) -> Training:
    """Train a linear discriminant analysis.

    Args:
        moments: of all training images, for each transform to try; all must have a label.
        folds: disjoint parts of them, see `fruits.classify.groups`.

    Raises:
        InputError: there are fewer than two labels, or all images have the same features.
    """
    return _train(moments, folds, None)


def train_softmax(
    moments: Mapping[str, Measured], folds: Sequence[Fold], fit: SoftmaxFit
) -> Training:
    """Train a softmax regression, calibrated and evaluated as :func:`train` does.

    The transform, the distances and the threshold are those of the discriminant analysis that
    :func:`train` chooses; `Training.trials` are its trials.

    Args:
        moments: of all training images, for each transform to try; all must have a label.
        folds: disjoint parts of them.
        fit: called with the place in `folds` of the fold to leave out, or None; the c labels that
            are left; and the transform of the features. It returns the (c, d) coefficients and the
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
    trials, chosen, models = choose(moments, list(usable.values()))
    discriminant = Discriminant.of(moments[chosen.transform])
    scores = [
        _hold_out(discriminant.labels, model, fold, chosen, number, fit)
        for (number, fold), model in zip(usable.items(), models, strict=True)
    ]
    logits = np.concatenate([one.logits for one in scores])
    truth = np.concatenate([one.truth for one in scores])
    distances = np.concatenate([one.distance for one in scores])
    classifier = discriminant.classifier(
        chosen.shrinkage, chosen.transform, fit_temperature(logits, truth), fit_threshold(distances)
    )
    held_out = HeldOut(
        [path for fold in usable.values() for path in fold.paths],
        [label for fold in usable.values() for label in fold.labels],
        _predictions(scores),
    )
    return Training(
        _refitted(classifier, None, fit),
        trials,
        _evaluated(discriminant, held_out, np.concatenate([one.nearest for one in scores])),
        discriminant.most_frequent,
        held_out,
    )


def _refitted(classifier: Classifier, without: int | None, fit: SoftmaxFit | None) -> Classifier:
    """The classifier with the coefficients of a softmax regression, if one is wanted."""
    if fit is None:
        return classifier
    coefficients, intercept = fit(without, classifier.labels, classifier.transform)
    return replace(classifier, kind="softmax", coefficients=coefficients, intercept=intercept)


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of images by a model that does not know them; labels are those of all images."""

    logits: Array
    truth: Ints
    distance: Array
    nearest: Ints


def _hold_out(
    labels: Sequence[str],
    model: Discriminant,
    fold: Fold,
    chosen: Trial,
    number: int,
    fit: SoftmaxFit | None,
) -> _Scores:
    classifier = _refitted(model.classifier(chosen.shrinkage, chosen.transform), number, fit)
    features = fold.features()
    own = classifier.logits(features)
    columns = places_of(labels, model.labels)
    # A label that only this fold has is as improbable as the least probable one.
    logits = np.repeat(own.min(axis=1, keepdims=True), len(labels), axis=1)
    logits[:, columns] = own
    truth = places_of(labels, fold.labels)
    truth[~np.isin(truth, columns)] = -1
    nearest = columns[model.nearest_mean(features, chosen.transform)]
    return _Scores(logits, truth, classifier.distances(features), nearest)


def _predictions(scores: Sequence[_Scores]) -> Predictions:
    """Predict each fold with the temperature and the threshold of the others."""
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
    best = ranked(probabilities, min(TOP, probabilities.shape[1]))
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
        likelihood=np.where(truth >= 0, probabilities[rows, truth], 0.0),
    )


def _evaluated(discriminant: Discriminant, held_out: HeldOut, nearest: Ints) -> Evaluation:
    said = held_out.predictions
    return evaluate(
        SCHEME,
        discriminant.labels,
        held_out.labels,
        predicted=said.predicted,
        confidence=said.confidence,
        top=said.top,
        likelihood=said.likelihood,
        most_frequent=discriminant.most_frequent,
        unknown=said.unknown,
        nearest=nearest,
    )


def _leaves_two_labels(moments: Mapping[str, Measured], fold: Fold) -> bool:
    """Whether a model can be fitted without the fold."""
    total, gone = next(iter(moments.values())), next(iter(fold.moments.values()))
    left = [
        label
        for label, sums in total.labels.items()
        if label not in gone.labels or gone.labels[label].count < sums.count
    ]
    return len(left) >= 2
