"""Evaluates predictions, and records what was evaluated.

The results are plain numbers for run.json, the terminal and the plots. Every figure belongs to a
scheme: the side of a split, or a cross-validation that keeps groups together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.classify.model import Array, Classifier
from fruits.classify.tally import Tally
from fruits.errors import InputError

BINS = 15
"""The number of bins of confidence, of equal width, for the calibration error."""

WORST = 20
"""The number of confusions that are listed."""

MATRIX_LABELS = 150
"""The most labels of a confusion matrix in which each one has a row with its name."""

NUMBERED_LABELS = 20
"""The most labels of a confusion matrix with numbers in the cells."""

FIGURES = {
    "images": ("images", "{:,}"),
    "accuracy": ("accuracy", "{:.1%}"),
    "balanced_accuracy": ("accuracy, mean over the labels", "{:.1%}"),
    "top5": ("among the five most probable", "{:.1%}"),
    "log_loss": ("log loss", "{:.3f}"),
    "calibration_error": ("calibration error", "{:.3f}"),
    "unknown": ("unknown", "{:.1%}"),
    "most_frequent": ("baseline: most frequent label", "{:.1%}"),
    "nearest_mean": ("baseline: nearest mean", "{:.1%}"),
    "identical": ("identical to training images", "{:,}"),
}
"""The attributes of an evaluation that are single figures, each with its name and format."""

_SMALLEST = float(np.finfo(np.float64).eps)
"""The lower limit of probabilities in the log loss, as in scikit-learn."""


@dataclass(frozen=True)
class LabelFigures:
    """The figures of one label: true images, predicted images, and scores from 0 to 1."""

    label: str
    images: int
    predicted: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """A bin of confidence: the number of images, the mean confidence, and the accuracy."""

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """The figures of an evaluation.

    Attributes:
        scheme: What was evaluated: "grouped cross-validation", or a side such as "split: test".
        images: The number of images.
        accuracy: The share of correct labels.
        balanced_accuracy: The mean recall over the labels.
        top5: The share of images whose label is among the five most probable.
        log_loss: The log loss of the images whose label the classifier knows; None if there are
            none.
        calibration_error: The expected difference of confidence and accuracy, over `BINS` bins.
        unknown: The share of images that are reported as unknown.
        most_frequent: The accuracy of always predicting the most frequent training label.
        nearest_mean: The accuracy of predicting the label with the nearest mean.
        identical: The number of images that are byte-identical to training images; None if they
            were not counted.
        unseen_labels: The number of images of each label without training images; they count as
            wrong.
        labels: The figures of each label.
        confusion: Rows of true label, predicted label and number of images, without zeros.
        bins: The calibration by confidence.
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
        """The content for run.json."""
        # Without the confusion, of which `asdict` would copy each value.
        about = asdict(replace(self, confusion=[]))
        return about | {"confusion": [list(row) for row in self.confusion]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Evaluation:
        """The inverse of :meth:`to_json`."""
        parts = {
            "labels": [LabelFigures(**one) for one in content["labels"]],
            "confusion": [tuple(row) for row in content["confusion"]],
            "bins": [Bin(**one) for one in content["bins"]],
        }
        return cls(**content | parts)

    def shown(self) -> dict[str, str]:
        """The figures as texts, by their names for people."""
        values = {name: getattr(self, name) for name in FIGURES}
        return {
            text: "not measured" if values[name] is None else form.format(values[name])
            for name, (text, form) in FIGURES.items()
        }

    def worst(self, count: int = WORST) -> list[tuple[str, str, int]]:
        """The confusions with the most images: true label, predicted label, images."""
        wrong = [row for row in self.confusion if row[0] != row[1]]
        return sorted(wrong, key=lambda row: (-row[2], row[0], row[1]))[:count]


def evaluation_of(
    tally: Tally, scheme: str, *, most_frequent: str, identical: int | None = None
) -> Evaluation:
    """The evaluation of images that were added to a tally.

    Args:
        tally: the tally of the images.
        scheme: "grouped cross-validation", or a side such as "split: test".
        most_frequent: the label with the most training images.
        identical: the number of images that are byte-identical to training images.

    Raises:
        InputError: there are no images.
    """
    count = tally.images
    if count == 0:
        raise InputError(f"wanted labelled images to evaluate ({scheme}); got none: add labels")
    labels, truth, right = tally.labels, tally.truth(), tally.right()
    figures = _figures(tally)
    bins = _bins(tally.confidence(), right)
    return Evaluation(
        scheme=scheme,
        images=count,
        accuracy=float(right.mean()),
        balanced_accuracy=float(np.mean([f.recall for f in figures if f.images])),
        top5=tally.top5 / count,
        log_loss=_log_loss(tally.likelihood()),
        calibration_error=float(
            sum(abs(one.confidence - one.accuracy) * one.images for one in bins) / count
        ),
        unknown=tally.unknown / count,
        most_frequent=truth[most_frequent] / count,
        nearest_mean=None if tally.nearest is None else tally.nearest / count,
        identical=identical,
        unseen_labels={x: truth[x] for x in sorted(truth.keys() - set(labels))},
        labels=figures,
        confusion=sorted(
            (label, labels[guess], images) for (label, guess), images in tally.pairs.items()
        ),
        bins=bins,
    )


def similarity_order(centres: Array) -> list[int]:
    """An order of c labels in which neighbours are similar, for a confusion matrix.

    Args:
        centres: (c, d) float64, such as `Classifier.centres`.

    Returns:
        The indices of the labels. The first one is farthest from the mean; each next one is the
        nearest of the remaining labels.
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


def _figures(tally: Tally) -> list[LabelFigures]:
    images, given, hits = tally.truth(), Counter[str](), Counter[str]()
    for (label, place), count in tally.pairs.items():
        guess = tally.labels[place]
        given[guess] += count
        hits[label] += count if guess == label else 0
    result = []
    for label in sorted(images.keys() | given.keys()):
        hit, wanted, got = hits[label], images[label], given[label]
        precision, recall = hit / got if got else 0.0, hit / wanted if wanted else 0.0
        result.append(LabelFigures(label, wanted, got, precision, recall, 2 * hit / (wanted + got)))
    return result


def _log_loss(likelihood: Array) -> float | None:
    """The log loss; overwrites the array. None if it is empty."""
    if not len(likelihood):
        return None
    np.clip(likelihood, _SMALLEST, None, out=likelihood)
    return float(-np.log(likelihood, out=likelihood).mean())


def _bins(confidence: Array, right: NDArray[np.bool_]) -> list[Bin]:
    """The bins of confidence that have images, in ascending order."""
    numbers = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    result = []
    for number in range(BINS):
        own = numbers == number
        if own.any():
            result.append(
                Bin(int(own.sum()), float(confidence[own].mean()), float(right[own].mean()))
            )
    return result
