"""Choose, calibrate and fit: from moments, their folds, and features to score.

The model without a fold is fitted to the moments of all images minus those of the fold: exactly
what fitting it to the other images would give. Features are read to be scored only, and a sample of
each fold will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.classify.calibrate import fit_temperature, fit_threshold
from fruits.classify.evaluate import Evaluation, evaluate
from fruits.classify.fit import SHRINKAGES, Discriminant
from fruits.classify.model import TOP, Array, Classifier, Ints, ranked, softmax
from fruits.features.moments import Moments

SCHEME = "grouped cross-validation"

DEFAULT_SHRINKAGE = 0.1
"""Where nothing can be held out: every label has one group only."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Images that are held out together.

    Attributes:
        moments: of all of them, for each transform that is tried.
        features: gives (n, d) float32 of those to score, as the network made them; it is called
            twice for each transform, so that not all features need be in memory.
        labels: their n labels.
    """

    moments: Mapping[str, Moments]
    features: Callable[[], NDArray[np.floating[Any]]]
    labels: Sequence[str]


@dataclass(frozen=True)
class Trial:
    """The accuracy of one choice, over all folds."""

    transform: str
    shrinkage: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Training:
    """What came out.

    Attributes:
        classifier: fitted to all images, calibrated on those that were held out.
        trials: all that was tried.
        evaluation: of the images held out; None where none could be.
        most_frequent: the label of most images, for comparison.
    """

    classifier: Classifier
    trials: list[Trial]
    evaluation: Evaluation | None
    most_frequent: str


def train(moments: Mapping[str, Moments], folds: Sequence[Fold]) -> Training:
    """Train a linear discriminant analysis.

    Args:
        moments: of all training images, for each transform to try; all must have a label.
        folds: disjoint parts of them, see `fruits.classify.groups`.

    Raises:
        InputError: there are fewer than two labels, or all images have the same features.
    """
    whole = {transform: Discriminant.of(own) for transform, own in moments.items()}
    usable = [fold for fold in folds if len(fold.labels) and _leaves_two_labels(moments, fold)]
    first = next(iter(moments))
    if not usable:
        plain = whole[first]
        classifier = plain.classifier(DEFAULT_SHRINKAGE, first)
        return Training(classifier, [], None, plain.most_frequent)
    trials, chosen = _choose(moments, usable)
    discriminant = whole[chosen.transform]
    held_out = [_hold_out(moments[chosen.transform], fold, chosen) for fold in usable]
    logits = np.concatenate([one.logits for one in held_out])
    truth = np.concatenate([one.truth for one in held_out])
    distances = np.concatenate([one.distance for one in held_out])
    classifier = discriminant.classifier(
        chosen.shrinkage, chosen.transform, fit_temperature(logits, truth), fit_threshold(distances)
    )
    evaluation = _evaluated(discriminant, held_out, usable)
    return Training(classifier, trials, evaluation, discriminant.most_frequent)


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Scores of images by a model that does not know them; labels are those of all images."""

    logits: Array
    truth: Ints
    distance: Array
    nearest: Ints


def _choose(moments: Mapping[str, Moments], folds: Sequence[Fold]) -> tuple[list[Trial], Trial]:
    """The choice with the most right labels; of equal ones that with the smaller log loss."""
    tested = sum(len(fold.labels) for fold in folds)
    trials, losses = [], []
    for transform, total in moments.items():
        right, loss = np.zeros(len(SHRINKAGES)), np.zeros(len(SHRINKAGES))
        for fold in folds:
            model = Discriminant.of(total.subtract(fold.moments[transform]))
            truth = _places(model.labels, fold.labels)
            known = np.flatnonzero(truth >= 0)
            scores = model.logits(fold.features(), transform, SHRINKAGES)
            for number, logits in enumerate(scores):
                right[number] += np.count_nonzero(logits.argmax(axis=1) == truth)
                likelihood = softmax(logits[known])[np.arange(len(known)), truth[known]]
                loss[number] -= np.log(likelihood.clip(min=1e-300)).sum()
        trials += [
            Trial(transform, shrinkage, float(hits) / tested)
            for shrinkage, hits in zip(SHRINKAGES, right, strict=True)
        ]
        losses += loss.tolist()
    best = min(range(len(trials)), key=lambda n: (-trials[n].accuracy, losses[n], n))
    return trials, trials[best]


def _hold_out(total: Moments, fold: Fold, chosen: Trial) -> _HeldOut:
    model = Discriminant.of(total.subtract(fold.moments[chosen.transform]))
    classifier = model.classifier(chosen.shrinkage, chosen.transform)
    features = fold.features()
    own = classifier.logits(features)
    labels = [label for label in total.labels if label is not None]
    columns = _places(labels, model.labels)
    # A label that only this fold has is as improbable as the least probable one.
    logits = np.repeat(own.min(axis=1, keepdims=True), len(labels), axis=1)
    logits[:, columns] = own
    truth = _places(labels, fold.labels)
    truth[~np.isin(truth, columns)] = -1
    nearest = columns[model.nearest_mean(features, chosen.transform)]
    return _HeldOut(logits, truth, classifier.distances(features), nearest)


def _evaluated(
    discriminant: Discriminant, held_out: Sequence[_HeldOut], folds: Sequence[Fold]
) -> Evaluation:
    """Evaluate each fold with the temperature and the threshold of the others."""
    chances, unknown = [], []
    for number, own in enumerate(held_out):
        others = [one for at, one in enumerate(held_out) if at != number] or [own]
        temperature = fit_temperature(
            np.concatenate([one.logits for one in others]),
            np.concatenate([one.truth for one in others]),
        )
        threshold = fit_threshold(np.concatenate([one.distance for one in others]))
        chances.append(softmax(own.logits / temperature))
        unknown.append(own.distance > threshold)
    probabilities = np.concatenate(chances)
    best = ranked(probabilities, min(TOP, len(discriminant.labels)))
    names = [label for fold in folds for label in fold.labels]
    truth = np.concatenate([one.truth for one in held_out])
    rows = np.arange(len(truth))
    return evaluate(
        SCHEME,
        discriminant.labels,
        names,
        predicted=best[:, 0],
        confidence=probabilities[rows, best[:, 0]],
        top=best,
        likelihood=np.where(truth >= 0, probabilities[rows, truth], 0.0),
        most_frequent=discriminant.most_frequent,
        unknown=np.concatenate(unknown),
        nearest=np.concatenate([one.nearest for one in held_out]),
    )


def _places(labels: Sequence[str], wanted: Sequence[str]) -> Ints:
    place = {label: number for number, label in enumerate(labels)}
    return np.array([place.get(label, -1) for label in wanted], np.int64)


def _leaves_two_labels(moments: Mapping[str, Moments], fold: Fold) -> bool:
    """Whether a model can be fitted without the fold."""
    total, gone = next(iter(moments.values())), next(iter(fold.moments.values()))
    left = [
        label
        for label, sums in total.labels.items()
        if label not in gone.labels or gone.labels[label].count < sums.count
    ]
    return len(left) >= 2
