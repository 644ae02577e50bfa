"""Finds images with an improbable label, by a classifier that was not fitted to them.

The rule is that of confident learning (Northcutt, Jiang and Chuang, "Confident learning: estimating
uncertainty in dataset labels", Journal of Artificial Intelligence Research 70, 2021): a label
counts as predicted if its probability is at least the mean probability that the images of this
label have for it. An image is suspect if the most probable of these labels is not its own. So a
label for which the classifier is never sure needs a lower probability, and two labels that are hard
to separate do not make all of their images suspect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fruits.classify.model import Array, Ints, label_indices
from fruits.quality.findings import Finding


@dataclass(frozen=True, eq=False)
class Answers:
    """The predictions of a classifier for n images that it was not fitted to.

    Attributes:
        paths: The n paths.
        labels: The n given labels.
        splits: The n sides of the split, or None.
        top: The indices of the most probable labels, the best first, (n, k) int64.
        probability: The probabilities of these labels, (n, k) float64.
        likelihood: The probabilities of the given labels, (n,) float64. NaN if the classifier does
            not know the label.
        are_limits: Whether the likelihood of a label that is not in ``top`` is only an upper limit.
    """

    paths: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str | None]
    top: Ints
    probability: Array
    likelihood: Array
    are_limits: bool = False

    def take(self, places: Ints) -> Answers:
        """The predictions of some images, by their indices."""
        columns = (self.paths, self.labels, self.splits)
        some = ([column[place] for place in places.tolist()] for column in columns)
        paths, labels, splits = some
        arrays = self.top[places], self.probability[places], self.likelihood[places]
        return Answers(paths, labels, splits, *arrays, self.are_limits)

    def followed_by(self, other: Answers) -> Answers:
        """The predictions of these images, followed by those of others."""
        return Answers(
            [*self.paths, *other.paths],
            [*self.labels, *other.labels],
            [*self.splits, *other.splits],
            np.concatenate([self.top, other.top]),
            np.concatenate([self.probability, other.probability]),
            np.concatenate([self.likelihood, other.likelihood]),
            self.are_limits,
        )


def confidence_needed(parts: Iterable[Answers], names: Sequence[str]) -> Array:
    """The mean probability of each label for its own images, (c,) float64.

    It is infinite for labels without images, so these are never predicted.

    Args:
        parts: The predictions of all images, in parts. The division has no effect.
        names: The c labels of the classifier.
    """
    counts, sums = np.zeros(len(names), np.int64), np.zeros(len(names))
    for answers in parts:
        own = label_indices(names, answers.labels)
        known = (own >= 0) & ~np.isnan(answers.likelihood)
        counts += np.bincount(own[known], minlength=len(names))
        np.add.at(sums, own[known], answers.likelihood[known])
    needed: Array = np.divide(sums, counts, out=np.full(len(names), np.inf), where=counts > 0)
    return needed


def label_suspects(
    answers: Answers,
    names: Sequence[str],
    needed: Array,
    by: str = "a classifier that has not seen this image",
) -> list[Finding]:
    """The images with another predicted label, those with the least probable label first.

    Args:
        answers: The predictions of the classifier.
        names: The c labels of the classifier.
        needed: The result of :func:`confidence_needed`, (c,) float64.
        by: The name of the classifier in the reason of a finding.

    Returns:
        Findings. The score is 1 minus the probability of the given label, or minus the upper limit
        of that probability.
    """
    predicted, confidence, places = _suspects(answers, names, needed)
    order = np.lexsort((-confidence[places], answers.likelihood[places]))
    return [
        _finding(answers, place, names, names[predicted[place]], float(confidence[place]), by)
        for place in places[order].tolist()
    ]


def least_probable(
    parts: Iterable[Answers], names: Sequence[str], needed: Array, most: int
) -> tuple[Answers, int]:
    """Selects the images that :func:`label_suspects` finds, up to a maximum number.

    Args:
        parts: The predictions of the images, in parts.
        names: The c labels of the classifier.
        needed: The result of :func:`confidence_needed`, (c,) float64.
        most: The maximum number of images.

    Returns:
        The images with the least probable labels, in the given order; and the number of other
        images that it would find.
    """
    width = len(names)
    nothing = np.empty((0, width), np.int64), np.empty((0, width)), np.empty(0)
    kept, found = Answers([], [], [], *nothing), 0
    for answers in parts:
        places = _suspects(answers, names, needed)[2]
        found += len(places)
        own = answers.take(places)
        kept = kept.followed_by(own) if len(kept.paths) else own
        if len(kept.paths) > most:
            order = np.argsort(kept.likelihood, kind="stable")
            kept = kept.take(np.sort(order[:most]))
    return kept, found - len(kept.paths)


def _suspects(
    answers: Answers, names: Sequence[str], needed: Array
) -> tuple[Ints, NDArray[np.float64], Ints]:
    """The predicted label of each image, its probability, and the indices of the suspects."""
    predicted, confidence = _predicted(answers, needed)
    own = label_indices(names, answers.labels)
    suspect = (predicted >= 0) & (predicted != own) & (own >= 0) & ~np.isnan(answers.likelihood)
    return predicted, confidence, np.flatnonzero(suspect)


def _predicted(answers: Answers, needed: Array) -> tuple[Ints, NDArray[np.float64]]:
    """The most probable label with enough confidence, or -1 if there is none; its probability."""
    reaches = answers.probability >= needed[answers.top]
    first = reaches.argmax(axis=1)
    rows = np.arange(len(first))
    some = reaches[rows, first] if len(first) else np.empty(0, bool)
    predicted: Ints = np.where(some, answers.top[rows, first], -1)
    return predicted, answers.probability[rows, first]


def _finding(
    answers: Answers,
    place: int,
    names: Sequence[str],
    predicted: str,
    confidence: float,
    by: str,
) -> Finding:
    likelihood, label = float(answers.likelihood[place]), answers.labels[place]
    ranked = label in [names[top] for top in answers.top[place]]
    at_most = "at most " if answers.are_limits and not ranked else ""
    return Finding(
        kind="label suspect",
        path=answers.paths[place],
        label=label,
        split=answers.splits[place],
        other=None,
        other_label=predicted,
        other_split=None,
        score=1 - likelihood,
        reason=(
            f"taken for {predicted} ({confidence:.0%}) by {by}; "
            f"{label} has {at_most}{likelihood:.1%}"
        ),
    )
