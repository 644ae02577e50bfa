from dataclasses import replace

import numpy as np
from drawing import Rows, drawn, folds_of

from fruits.classify.groups import assign_folds
from fruits.classify.review import confusions, suspects
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


def test_planted_wrong_labels_are_the_first_suspects() -> None:
    x, labels, groups = drawn(rows=600, labels=4)
    rng = np.random.default_rng(1)
    planted = rng.choice(len(x), 12, replace=False)
    right = {str(n): labels[n] for n in planted}
    for n in planted:
        labels[n] = "fruit 0" if labels[n] != "fruit 0" else "fruit 1"

    training, held_out = trained(x, labels, groups)
    found = suspects(
        held_out.paths, held_out.labels, held_out.predictions, training.classifier.labels, 24
    )

    caught = [one for one in found if one.path in right]
    assert len(caught) >= 9
    assert sum(one.predicted == right[one.path] for one in caught) >= 8
    assert [one.likelihood for one in found] == sorted(one.likelihood for one in found)
    assert all(one.likelihood < one.confidence for one in found)


def test_images_of_unknown_labels_are_not_suspects() -> None:
    x, labels, groups = drawn()
    training, _ = trained(x, labels, groups)
    classifier = training.classifier
    given: list[str | None] = ["new", *labels[1:]]
    predictions = classifier.predict(x, classifier.label_indices(given))
    paths = [str(n) for n in range(len(x))]

    found = suspects(paths, ["new", *labels[1:]], predictions, classifier.labels, len(x))

    wrong = np.flatnonzero(predictions.predicted != classifier.label_indices(given))
    assert {one.path for one in found} == {str(n) for n in wrong if n != 0}
