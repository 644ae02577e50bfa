from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
from drawing import Rows, drawn, folds_of

from fruits.classify.groups import assign_folds
from fruits.classify.review import REVIEWED, Confusion, confusions
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

    columns = (held_out.paths, held_out.labels, predicted, confidence)
    rows = pa.record_batch(dict(zip(REVIEWED.names, columns, strict=True)), REVIEWED)
    batches = [rows.slice(start, 7) for start in range(0, rows.num_rows, 7)]

    found = confusions(training.evaluation, batches, count=3)

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


def test_of_images_with_the_same_confidence_the_last_one_is_shown() -> None:
    rows = [
        *(("a", "Fig", "Kiwi", 0.9), ("b", "Kiwi", "Kiwi", 1.0), ("c", "Fig", "Kiwi", 0.9)),
        *(("d", "Kiwi", "Kiwi", 0.8), ("e", "Fig", "Kiwi", 0.9), ("f", "Kiwi", "Kiwi", 1.0)),
        *(("g", "Fig", "Fig", 1.0), ("h", "Kiwi", "Kiwi", 0.7), ("i", "Kiwi", "Lime", 0.7)),
    ]
    evaluation = trained(*drawn())[0].evaluation
    assert evaluation is not None
    counts = Counter(row[1:3] for row in rows)
    evaluation = replace(evaluation, confusion=[(*pair, n) for pair, n in counts.items()])
    batch = pa.record_batch([*map(pa.array, zip(*rows, strict=True))], schema=REVIEWED)
    for size in (1, 2, 9):
        batches = [batch.slice(start, size) for start in range(0, 9, size)]
        assert confusions(evaluation, batches, count=9) == [
            Confusion("Fig", "Kiwi", 3, wrong="e", example="f"),
            Confusion("Kiwi", "Lime", 1, wrong="i", example=None),
        ]
    assert confusions(evaluation, [], count=9) == []
