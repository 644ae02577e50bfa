"""How good predictions are, and on what that was measured.

Plain numbers, for run.json, the terminal and the plots. Every figure belongs to a scheme: the side
of a split, or a cross-validation that keeps groups together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.classify.model import TOP, Array, Classifier, Ints, places_of
from fruits.errors import InputError

BINS = 15
"""Bins of confidence, of equal width, by which the calibration error is measured."""

WORST = 20
"""Confusions that are listed."""

_SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities count as this at least in the log loss, as in scikit-learn."""


@dataclass(frozen=True)
class LabelFigures:
    """Of one label: images that have it, images that were given it, and how they agree, 0 to 1."""

    label: str
    images: int
    predicted: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """Images by confidence: how many, how sure the classifier was on average, and how right."""

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """How good predictions are.

    Attributes:
        scheme: what was measured: "split" or "grouped cross-validation".
        images: how many.
        accuracy: the share of right labels.
        balanced_accuracy: the mean over the labels of their recall.
        top5: the share of images whose label is among the five most probable.
        log_loss: over the images whose label the classifier knows; None if there are none.
        calibration_error: expected difference of confidence and accuracy, over `BINS` bins.
        unknown: the share of images that were called unknown.
        most_frequent: the accuracy of naming the most frequent training label always.
        nearest_mean: the accuracy of naming the label with the nearest mean.
        identical: images that training has too, byte for byte; None where it was not counted.
        unseen_labels: labels that training has not, with their images, which count as wrong.
        labels: the figures of each label.
        confusion: rows of true label, predicted label and images, where there are any.
        bins: the calibration, by confidence.
    """

    scheme: str
    images: int
    accuracy: float
    balanced_accuracy: float
    top5: float
    log_loss: float | None
    calibration_error: float
    unknown: float
    most_frequent: float
    nearest_mean: float | None
    identical: int | None
    unseen_labels: dict[str, int]
    labels: list[LabelFigures]
    confusion: list[tuple[str, str, int]]
    bins: list[Bin]

    def to_json(self) -> dict[str, Any]:
        """What run.json has of it."""
        return asdict(self) | {"confusion": [list(row) for row in self.confusion]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Evaluation:
        """The inverse of :meth:`to_json`."""
        parts = {
            "labels": [LabelFigures(**one) for one in content["labels"]],
            "confusion": [tuple(row) for row in content["confusion"]],
            "bins": [Bin(**one) for one in content["bins"]],
        }
        return cls(**content | parts)

    def worst(self, count: int = WORST) -> list[tuple[str, str, int]]:
        """The confusions with the most images: true label, predicted label, images."""
        wrong = [row for row in self.confusion if row[0] != row[1]]
        return sorted(wrong, key=lambda row: (-row[2], row[0], row[1]))[:count]


def evaluate(
    scheme: str,
    labels: Sequence[str],
    truth: Sequence[str],
    predicted: Ints,
    confidence: Array,
    top: Ints,
    likelihood: Array,
    *,
    most_frequent: str,
    unknown: NDArray[np.bool_] | None = None,
    nearest: Ints | None = None,
    identical: int | None = None,
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        scheme: "split" or "grouped cross-validation".
        labels: the c labels of the classifier.
        truth: the n true labels; others than those of the classifier count as wrong.
        predicted: (n,) places of the labels that were predicted.
        confidence: (n,) float64, their probabilities.
        top: (n, k) places of the most probable labels.
        likelihood: (n,) float64, the probabilities of the true labels; NaN where unseen.
        most_frequent: the label of most training images.
        unknown: (n,) bool.
        nearest: (n,) places of the labels with the nearest means.
        identical: images that training has too.

    Raises:
        InputError: there are no images.
    """
    count = len(truth)
    if count == 0:
        raise InputError(f"wanted labelled images to evaluate ({scheme}), found none")
    known, true = set(labels), places_of(labels, truth)
    right = predicted == true
    figures = _figures(labels, truth, predicted)
    seen = likelihood[true >= 0]
    bins = _bins(confidence, right)
    return Evaluation(
        scheme=scheme,
        images=count,
        accuracy=float(right.mean()),
        balanced_accuracy=float(np.mean([f.recall for f in figures if f.images])),
        top5=float((top[:, :TOP] == true[:, np.newaxis]).any(axis=1).mean()),
        log_loss=float(-np.log(seen.clip(min=_SMALLEST)).mean()) if len(seen) else None,
        calibration_error=float(
            sum(abs(one.confidence - one.accuracy) * one.images for one in bins) / count
        ),
        unknown=0.0 if unknown is None else float(unknown.mean()),
        most_frequent=float(np.mean([label == most_frequent for label in truth])),
        nearest_mean=None if nearest is None else float((nearest == true).mean()),
        identical=identical,
        unseen_labels=dict(sorted(Counter(x for x in truth if x not in known).items())),
        labels=figures,
        confusion=sorted(
            (label, labels[guess], images)
            for (label, guess), images in Counter(
                zip(truth, predicted.tolist(), strict=True)
            ).items()
        ),
        bins=bins,
    )


def count_identical(training: Iterable[str], tested: Iterable[str]) -> int:
    """Tested images whose SHA-256 is one of the training images'."""
    known = set(training)
    return sum(digest in known for digest in tested)


def similarity_order(centres: Array) -> list[int]:
    """An order of c labels in which neighbours are alike, for a confusion matrix.

    Args:
        centres: (c, d) float64, such as `Classifier.centres`.

    Returns:
        The places of the labels: from the one farthest from the mean, always to the nearest left.
    """
    squares = (centres**2).sum(axis=1)
    at = int(np.argmax(squares))
    order, left = [at], np.ones(len(centres), bool)
    left[at] = False
    while left.any():
        distances = squares - 2 * centres @ centres[at]
        at = int(np.argmin(np.where(left, distances, np.inf)))
        order.append(at)
        left[at] = False
    return order


def labels_by_similarity(classifier: Classifier) -> list[str]:
    """The labels of a classifier in the order of :func:`similarity_order`."""
    return [classifier.labels[place] for place in similarity_order(classifier.centres)]


def _figures(labels: Sequence[str], truth: Sequence[str], predicted: Ints) -> list[LabelFigures]:
    guesses = [labels[place] for place in predicted.tolist()]
    images, given = Counter(truth), Counter(guesses)
    hits = Counter(a for a, b in zip(truth, guesses, strict=True) if a == b)
    result = []
    for label in sorted(images.keys() | given.keys()):
        hit, wanted, got = hits[label], images[label], given[label]
        precision, recall = hit / got if got else 0.0, hit / wanted if wanted else 0.0
        result.append(LabelFigures(label, wanted, got, precision, recall, 2 * hit / (wanted + got)))
    return result


def _bins(confidence: Array, right: Ints) -> list[Bin]:
    """Bins of confidence that have images, ascending."""
    numbers = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    result = []
    for number in range(BINS):
        own = numbers == number
        if own.any():
            result.append(
                Bin(int(own.sum()), float(confidence[own].mean()), float(right[own].mean()))
            )
    return result
