"""Evaluates predictions, and records what was evaluated.

The results are plain numbers for run.json, the terminal and the plots. Every figure belongs to a
scheme: the side of a split, or a cross-validation that keeps groups together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.classify.label_figures import (
    LISTED_CONFUSIONS,
    LISTED_LABELS,
    LabelFigures,
    figures_of,
    images_in,
    largest,
    listed_pairs,
)
from fruits.classify.model import Array, Classifier, Ints
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
    "prior_log_loss": ("baseline: log loss of the label frequencies", "{:.3f}"),
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
        left_out: If there are more than :data:`LISTED_LABELS` labels, those with the most images
            are listed; of more than :data:`LISTED_CONFUSIONS` rows of ``confusion``, those of
            :func:`fruits.classify.label_figures.listed_pairs`. The number of the others, by the
            name of the list; ``unseen_images`` is the number of images of unseen labels among the
            others.
        prior_log_loss: The log loss, on the same images, of always answering with the frequencies
            of the labels in the training; None if they are not known, or if there is no log loss.
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
    left_out: dict[str, int] = field(default_factory=dict)
    prior_log_loss: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The content for run.json; without ``left_out`` if it is empty."""
        # Without the confusion, of which `asdict` would copy each value.
        content = asdict(replace(self, confusion=[]))
        content["confusion"] = [list(row) for row in self.confusion]
        return content if self.left_out else {k: v for k, v in content.items() if k != "left_out"}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Evaluation:
        """The inverse of :meth:`to_json`."""
        parts = {
            "labels": [LabelFigures(**one) for one in content["labels"]],
            "confusion": [tuple(row) for row in content["confusion"]],
            "bins": [Bin(**one) for one in content["bins"]],
        }
        return cls(**content | parts)

    @property
    def wrong_images(self) -> int:
        """The number of images with a wrong label."""
        return self.images - round(self.accuracy * self.images)

    @property
    def unseen_images(self) -> int:
        """The number of images whose labels have no training images."""
        return sum(self.unseen_labels.values()) + self.left_out.get("unseen_images", 0)

    def figures(self) -> dict[str, Any]:
        """The scheme and the figures, by name."""
        return {name: getattr(self, name) for name in ("scheme", *FIGURES)}

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
    tally: Tally,
    scheme: str,
    *,
    most_frequent: str,
    identical: int | None = None,
    counts: Ints | None = None,
) -> Evaluation:
    """The evaluation of images that were added to a tally.

    Args:
        tally: the tally of the images.
        scheme: "grouped cross-validation", or a side such as "split: test".
        most_frequent: the label with the most training images.
        identical: the number of images that are byte-identical to training images.
        counts: (c,) the number of training images of each label of the tally; None if not known.

    Raises:
        InputError: there are no images.
    """
    count = tally.images
    if count == 0:
        raise InputError(f"wanted labelled images to evaluate ({scheme}); got none: add labels")
    right = tally.right()
    pairs, bins = tally.pairs(), _bins(tally.confidence(), right)
    figures = figures_of(pairs)
    seen = figures.filter(pc.greater(figures["images"], 0))
    new = seen.filter(pc.invert(pc.is_in(seen["label"], pa.array(tally.labels, pa.string()))))
    frequent = figures.filter(pc.equal(figures["label"], most_frequent))
    listed, unseen = (largest(rows, LISTED_LABELS) for rows in (figures, new))
    confusion = listed_pairs(pairs, listed["label"], LISTED_CONFUSIONS)
    left_out = {
        "labels": figures.num_rows - listed.num_rows,
        "confusion": pairs.num_rows - confusion.num_rows,
        "unseen_labels": new.num_rows - unseen.num_rows,
        "unseen_images": images_in(new) - images_in(unseen),
    }
    return Evaluation(
        scheme=scheme,
        images=count,
        accuracy=float(right.mean()),
        balanced_accuracy=float(np.mean(seen["recall"].to_numpy())),
        top5=tally.top5 / count,
        log_loss=_log_loss(tally.likelihood()),
        calibration_error=float(
            sum(abs(one.confidence - one.accuracy) * one.images for one in bins) / count
        ),
        unknown=tally.unknown / count,
        most_frequent=images_in(frequent) / count,
        nearest_mean=None if tally.nearest is None else tally.nearest / count,
        identical=identical,
        unseen_labels=dict(
            zip(*unseen.select(["label", "images"]).to_pydict().values(), strict=True)
        ),
        labels=[LabelFigures(**one) for one in listed.to_pylist()],
        confusion=list(zip(*confusion.to_pydict().values(), strict=True)),
        bins=bins,
        left_out={name: number for name, number in left_out.items() if number},
        prior_log_loss=None if counts is None else _prior_log_loss(seen, tally.labels, counts),
    )


def is_worse_than_frequencies(log_loss: float | None, prior_log_loss: float | None) -> bool:
    """Whether the log loss is not smaller than that of the label frequencies; not if unknown."""
    return log_loss is not None and prior_log_loss is not None and log_loss >= prior_log_loss


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


def in_order(labels: Iterable[str], order: Iterable[str]) -> list[str]:
    """Labels in a given order, without duplicates; those that are not in it last, by alphabet."""
    left = set(labels)
    first = [label for label in dict.fromkeys(order) if label in left]
    return [*first, *sorted(left.difference(first))]


def _log_loss(likelihood: Array) -> float | None:
    """The log loss; overwrites the array. None if it is empty."""
    if not len(likelihood):
        return None
    np.clip(likelihood, _SMALLEST, None, out=likelihood)
    return float(-np.log(likelihood, out=likelihood).mean()) + 0.0  # Not -0.0.


def _prior_log_loss(seen: pa.Table, labels: list[str], counts: Ints) -> float | None:
    """The log loss of the frequencies of c labels, for images by label; None without known ones."""
    places = pc.index_in(seen["label"], pa.array(labels, pa.string()))
    images = seen.filter(places.is_valid())["images"].to_numpy()
    if not len(images):
        return None
    shares = counts[places.drop_null().to_numpy()] / counts.sum()
    return float(-(images @ np.log(shares)) / images.sum()) + 0.0


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
