"""The findings of the classifier, made from stored predictions without Spark."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from drawing import drawn, folds_of

from fruits.classify.groups import assign_folds
from fruits.classify.model import label_indices
from fruits.classify.rows import PREDICTIONS, TablePredictor
from fruits.classify.train import train
from fruits.features.rows import write_rows
from fruits.quality.labels import Answers, confidence_needed, label_suspects
from fruits.runs.classifier_findings import classifier_findings
from fruits.runs.classify import Classified
from fruits.runs.copies import IMAGES
from fruits.runs.outputs import Outputs
from fruits.storage.location import Location

TRAINING = 400
PLANTED = range(410, 600, 20)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Classified, pa.Table, Any]:
    """A classifier of 400 images, its predictions for them and for 200 others, and all images."""
    x, labels, groups = drawn(rows=600)
    x[[3, 500]] += 30  # one image of each split shows something else
    for n in (5, *PLANTED):
        labels[n] = "fruit 0" if labels[n] != "fruit 0" else "fruit 1"
    names = [f"{n:03}" for n in range(600)]
    total, folds = folds_of(x[:TRAINING], labels[:TRAINING], groups[:TRAINING])
    numbers = assign_folds(groups[:TRAINING], labels[:TRAINING])
    held = [np.flatnonzero(numbers == n) for n in sorted(set(numbers.tolist()) - {-1})]
    folds = [
        replace(fold, paths=[names[n] for n in own]) for fold, own in zip(folds, held, strict=True)
    ]
    training = train(total, folds)
    images = pa.table(
        {
            "path": names,
            "label": labels,
            "split": ["train"] * TRAINING + ["test"] * (600 - TRAINING),
        }
    )
    predictor = TablePredictor(training.classifier, None, frozenset())
    place = tmp_path_factory.mktemp("staged")
    write_rows(Location.of(f"{place}/predictions/0.parquet"), predictor.tables(images, x)[0])
    about = {"training_images": TRAINING}
    classified = Classified(training.classifier, "", None, None, training.held_out, about)
    context = SimpleNamespace(staged=Outputs(Location.of(str(place))), basis=None)
    return context, classified, images, x


def findings(made: tuple[Any, Classified, pa.Table, Any], kind: str) -> list[Any]:
    context, classified, images, _ = made
    found = classifier_findings(context, classified, images, "train", {})
    return [one for one in found if one.kind == kind]


def test_outliers_are_found_on_both_sides_also_among_training_images(made: Any) -> None:
    found = findings(made, "outlier")
    assert {"003", "500"} <= {one.path for one in found}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert {one.split for one in found} == {"train", "test"}
    assert len(found) <= 0.01 * 600 + 2


def test_suspects_of_the_test_side_are_those_of_its_probabilities(made: Any) -> None:
    _, classified, images, x = made
    classifier = classified.classifier
    rows = images.slice(TRAINING)
    labels = rows["label"].to_pylist()
    predictions = classifier.predict(x[TRAINING:], classifier.label_indices(labels))
    columns = rows["path"].to_pylist(), labels, rows["split"].to_pylist()
    answers = Answers(
        *columns, predictions.top, predictions.top_probability, predictions.likelihood
    )
    own = classified.held_out
    tops = own.predictions.top, own.predictions.top_probability
    left_out = Answers(own.paths, own.labels, [], *tops, own.predictions.likelihood)
    needed = confidence_needed([left_out], classifier.labels)
    expected = label_suspects(answers, classifier.labels, needed)

    found = [one for one in findings(made, "label suspect") if one.split == "test"]

    assert [one.path for one in found] == [one.path for one in expected]
    np.testing.assert_allclose([one.score for one in found], [one.score for one in expected])
    planted = {f"{n}" for n in PLANTED}
    assert len(planted & {one.path for one in found}) >= 5


def test_of_eight_labels_the_probability_of_the_sixth_is_known_only_as_a_limit(
    tmp_path: Path,
) -> None:
    names = [f"fruit {n}" for n in range(8)]
    ranked = [{"label": names[n], "probability": p} for n, p in enumerate((0.9, 0.04, 0.03, 0.02))]
    ranked.append({"label": names[4], "probability": 0.008})
    paths = ["a", "b", "c"]
    rows = {"path": paths, "label": [names[0], names[7], names[3]], "split": ["test"] * 3}
    unused = {"predicted": [names[0]] * 3, "confidence": [0.9] * 3, "unknown": [False] * 3}
    table = pa.table(rows | unused | {"distance": [1.0] * 3, "top5": [ranked] * 3}, PREDICTIONS)
    write_rows(Location.of(f"{tmp_path}/predictions/0.parquet"), table)
    context = SimpleNamespace(staged=Outputs(Location.of(str(tmp_path))), basis=True)
    classifier = SimpleNamespace(
        labels=names, threshold=np.inf, label_indices=lambda labels: label_indices(names, labels)
    )
    known: Any = SimpleNamespace(classifier=classifier, held_out=None, about={})
    found = classifier_findings(context, known, IMAGES.empty_table(), None, {})  # type: ignore[arg-type]
    assert {one.path: one.reason.partition("; ")[2] for one in found} == {
        "b": "fruit 7 has at most 0.8%",
        "c": "fruit 3 has 2.0%",
    }


def test_suspects_of_the_training_side_are_held_out_images(made: Any) -> None:
    found = [one for one in findings(made, "label suspect") if one.split == "train"]
    assert "005" in {one.path for one in found}
    assert all(int(one.path) < TRAINING for one in found)


def test_the_model_of_another_run_may_know_its_suspects(made: Any) -> None:
    context, classified, images, _ = made
    with_model = SimpleNamespace(staged=context.staged, basis=True)
    known = replace(classified, held_out=None)
    found = classifier_findings(with_model, known, images, None, {})
    reasons = [one.reason for one in found if one.kind == "label suspect"]
    assert reasons
    assert all(" by the model; " in reason for reason in reasons)
    assert all(" not seen this image; " in one.reason for one in findings(made, "label suspect"))


def test_training_images_that_were_not_held_out_are_counted(made: Any) -> None:
    context, classified, images, _ = made
    skipped: dict[str, str] = {}
    classifier_findings(
        context, replace(classified, about={"training_images": 450}), images, "train", skipped
    )
    assert skipped["label suspect"].startswith("50 training images")
    alone = replace(classified, held_out=None)
    assert {
        one.split
        for one in classifier_findings(context, alone, images, "train", {})
        if one.kind == "label suspect"
    } == {"test"}


def test_a_classifier_that_was_fitted_to_all_images_is_asked_about_held_out_images_only(
    made: Any,
) -> None:
    context, classified, images, _ = made
    found = classifier_findings(context, classified, images, None, {})
    suspects = [one for one in found if one.kind == "label suspect"]
    assert {one.split for one in suspects} == {"train"}
    skipped: dict[str, str] = {}
    found = classifier_findings(context, replace(classified, held_out=None), images, None, skipped)
    assert {one.kind for one in found} == {"outlier"}
    assert skipped["label suspect"].startswith("400 training images")
