from dataclasses import replace

import numpy as np
from drawing import Rows, drawn, folds_of

from fruits.classify.groups import assign_folds
from fruits.classify.review import confusions
from fruits.classify.train import HeldOut, Training, train


def trained(x: Rows, labels: list[str], groups: list[str]) -> tuple[Training, HeldOut]:
    """Trains with the numbers of the images as paths."""
    total, folds = folds_of(x, labels, groups)
    numbers = assign_folds(groups, labels)
    folds = [
        replace(fold, paths=[str(n) for n in np.flatnonzero(numbers == number)])
        for number, fold in enumerate(folds)
    ]
    training = train(total, folds)
    assert training.held_out is not None
    return training, training.held_out


def test_confusions_show_the_most_confident_images() -> None:
    x, labels, groups = drawn()
    training, held_out = trained(x, labels, groups)
    assert training.evaluation is not None
    names = training.classifier.labels
    predicted = [names[place] for place in held_out.predictions.predicted]
    confidence = held_out.predictions.confidence

    found = confusions(
        training.evaluation, held_out.paths, held_out.labels, predicted, confidence, count=3
    )

    worst = training.evaluation.worst(3)
    assert [(one.label, one.predicted, one.images) for one in found] == worst
    of = dict(
        zip(held_out.paths, zip(held_out.labels, predicted, confidence, strict=True), strict=True)
    )
    for one in found:
        assert of[one.wrong][:2] == (one.label, one.predicted)
        assert one.example is not None
        assert of[one.example][:2] == (one.predicted, one.predicted)
        same = [c for a, b, c in of.values() if (a, b) == (one.label, one.predicted)]
        assert len(same) == one.images
        assert of[one.wrong][2] == max(same)
