"""Images whose label is improbable, by what a classifier says that does not know them.

The rule is that of confident learning (Northcutt, Jiang and Chuang, "Confident learning: estimating
uncertainty in dataset labels", Journal of Artificial Intelligence Research 70, 2021): a label
counts as predicted for an image where its probability reaches the mean that the images of this
label have. An image is suspect where the most probable of these labels is not its own. So a label
that the classifier is never sure of needs less to be predicted, and a blurred border between two
labels does not make all its images suspect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fruits.classify.model import Array, Ints, places_of
from fruits.quality.findings import Finding


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier says of n images that it was not fitted to.

    Attributes:
        paths: n paths.
        labels: n labels that the images have.
        splits: n sides of the split; None where there is none.
        top: (n, k) int64, places of the most probable labels, the best first.
        probability: (n, k) float64, of these labels.
        likelihood: (n,) float64, the probability of the label that the image has; NaN where the
            classifier does not know it.
    """

    paths: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str | None]
    top: Ints
    probability: Array
    likelihood: Array


def confidence_needed(answers: Answers, names: Sequence[str]) -> Array:
    """(c,) float64: the mean probability that the images of each label have for it.

    Infinite where there is none, so that the label is never predicted.
    """
    own = places_of(names, answers.labels)
    known = (own >= 0) & ~np.isnan(answers.likelihood)
    counts = np.bincount(own[known], minlength=len(names))
    sums = np.bincount(own[known], answers.likelihood[known], minlength=len(names))
    needed: Array = np.divide(sums, counts, out=np.full(len(names), np.inf), where=counts > 0)
    return needed


def label_suspects(answers: Answers, names: Sequence[str], needed: Array) -> list[Finding]:
    """The images whose label another one beats, those with the least probable label first.

    Args:
        answers: of the classifier.
        names: its c labels.
        needed: (c,) float64, from :func:`confidence_needed`.

    Returns:
        Findings whose score is 1 minus the probability of the label that the image has.
    """
    predicted, confidence = _predicted(answers, needed)
    own = places_of(names, answers.labels)
    suspect = (predicted >= 0) & (predicted != own) & (own >= 0) & ~np.isnan(answers.likelihood)
    places = np.flatnonzero(suspect)
    order = np.lexsort((-confidence[places], answers.likelihood[places]))
    return [
        _finding(answers, place, names[predicted[place]], float(confidence[place]))
        for place in places[order].tolist()
    ]


def _predicted(answers: Answers, needed: Array) -> tuple[Ints, NDArray[np.float64]]:
    """The most probable label that reaches what it needs, -1 where none does; its probability."""
    reaches = answers.probability >= needed[answers.top]
    first = reaches.argmax(axis=1)
    rows = np.arange(len(first))
    some = reaches[rows, first] if len(first) else np.empty(0, bool)
    predicted: Ints = np.where(some, answers.top[rows, first], -1)
    return predicted, answers.probability[rows, first]


def _finding(answers: Answers, place: int, predicted: str, confidence: float) -> Finding:
    likelihood, label = float(answers.likelihood[place]), answers.labels[place]
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
            f"a classifier that has not seen this image takes it for {predicted} "
            f"({confidence:.0%}); {label} has {likelihood:.1%}"
        ),
    )
