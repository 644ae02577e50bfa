"""Which images to look at: those behind the worst confusions, and those whose labels may be wrong.

They should be predictions of images that the classifier does not know, such as
`fruits.classify.train.HeldOut` or the other side of a split: of what it was trained on, it has
learned the wrong labels, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fruits.classify.evaluate import Evaluation
from fruits.classify.model import Array, Predictions


@dataclass(frozen=True)
class Confusion:
    """Images of one label that were taken for another.

    Attributes:
        label: that they have.
        predicted: what they were taken for.
        images: how many they are.
        wrong: the path of the one that was taken for the other label with most confidence.
        example: the path of the image of the other label that was recognised with most confidence;
            None where none was.
    """

    label: str
    predicted: str
    images: int
    wrong: str
    example: str | None


@dataclass(frozen=True)
class Suspect:
    """An image whose label is improbable.

    Attributes:
        path: of the image.
        label: that it has.
        likelihood: the probability of this label.
        predicted: the most probable label.
        confidence: its probability.
    """

    path: str
    label: str
    likelihood: float
    predicted: str
    confidence: float


def confusions(
    evaluation: Evaluation,
    paths: Sequence[str],
    labels: Sequence[str],
    predicted: Sequence[str],
    confidence: Array,
    count: int = 9,
) -> list[Confusion]:
    """The worst confusions of an evaluation, each with two images to compare.

    Args:
        evaluation: of the images.
        paths: n paths.
        labels: n true labels.
        predicted: n labels that were predicted.
        confidence: (n,) float64, their probabilities.
        count: how many at most.
    """
    surest: dict[tuple[str, str], str] = {}
    for place in np.argsort(confidence, kind="stable").tolist():  # the last one stays
        surest[labels[place], predicted[place]] = paths[place]
    return [
        Confusion(label, other, images, surest[label, other], surest.get((other, other)))
        for label, other, images in evaluation.worst(count)
        if (label, other) in surest
    ]


def suspects(
    paths: Sequence[str],
    labels: Sequence[str],
    predictions: Predictions,
    names: Sequence[str],
    count: int = 20,
) -> list[Suspect]:
    """The images with the least probable labels, of those that are taken for another label.

    Args:
        paths: n paths.
        labels: n labels; images whose label the classifier does not know are left out.
        predictions: of the images.
        names: the labels of the classifier.
        count: how many at most.
    """
    found: list[Suspect] = []
    for place in np.argsort(predictions.likelihood, kind="stable").tolist():
        predicted = names[predictions.predicted[place]]
        likelihood = float(predictions.likelihood[place])
        if len(found) == count or np.isnan(likelihood):
            break
        if predicted != labels[place]:
            confidence = float(predictions.confidence[place])
            found.append(Suspect(paths[place], labels[place], likelihood, predicted, confidence))
    return found
