"""Finds examples of the worst confusions of an evaluation, to review them.

The predictions should be of images that were not used for training, such as
`fruits.classify.train.HeldOut` or the other side of a split, because a classifier also learns the
wrong labels of its training images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fruits.classify.evaluate import Evaluation
from fruits.classify.model import Array


@dataclass(frozen=True)
class Confusion:
    """Images of one label that were predicted as another label.

    Attributes:
        label: The true label.
        predicted: The predicted label.
        images: The number of images.
        wrong: The path of the image that was confused with the highest confidence.
        example: The path of the image of the predicted label that was recognised with the highest
            confidence; None if there is none.
    """

    label: str
    predicted: str
    images: int
    wrong: str
    example: str | None


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
        evaluation: the evaluation of the images.
        paths: n paths.
        labels: n true labels.
        predicted: n predicted labels.
        confidence: (n,) float64, their probabilities.
        count: the largest number of confusions to return.
    """
    surest: dict[tuple[str, str], str] = {}
    for place in np.argsort(confidence, kind="stable").tolist():  # The most confident one is last.
        surest[labels[place], predicted[place]] = paths[place]
    return [
        Confusion(label, other, images, surest[label, other], surest.get((other, other)))
        for label, other, images in evaluation.worst(count)
        if (label, other) in surest
    ]
