import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn import metrics  # type: ignore[import-untyped]
from sklearn.dummy import DummyClassifier  # type: ignore[import-untyped]

from fruits.classify.evaluate import Evaluation, evaluation_of, in_order, similarity_order
from fruits.classify.model import Ints, top_indices
from fruits.classify.rows import SCORES, evaluate_sides
from fruits.classify.tally import Tally
from fruits.errors import InputError
from fruits.features.rows import lists
from fruits.plots import confusion

LABELS = [f"l{n}" for n in range(8)]


def drawn_evaluation(
    rows: int = 500, extra: tuple[str, ...] = (), counts: Ints | None = None
) -> tuple[Evaluation, list[str], np.ndarray]:
    """An evaluation of random probabilities, the true labels, and the probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(rows, 8))
    truth = [LABELS[n] for n in rng.integers(0, 6, rows)]  # l6 and l7 are never true
    logits[np.arange(rows), [LABELS.index(t) for t in truth]] += 1.5
    truth[: len(extra)] = extra
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    best = top_indices(chances, 5)
    places = np.array([LABELS.index(t) if t in LABELS else -1 for t in truth])
    likelihood = np.where(places >= 0, chances[np.arange(rows), places], np.nan)
    few, confidence = np.arange(rows) < 5, chances.max(axis=1)
    tally = Tally(LABELS)
    tally.add(truth, best[:, 0], confidence, best, likelihood, few, best[:, 1])
    result = evaluation_of(tally, "split", most_frequent="l2", counts=counts)
    return result, truth, chances


def test_figures_agree_with_scikit_learn() -> None:
    result, truth, chances = drawn_evaluation()
    guesses = [LABELS[n] for n in chances.argmax(axis=1)]
    places = [LABELS.index(t) for t in truth]

    assert result.images == 500
    assert result.accuracy == pytest.approx(metrics.accuracy_score(truth, guesses))
    assert result.balanced_accuracy == pytest.approx(
        np.mean(metrics.recall_score(truth, guesses, average=None, labels=LABELS[:6]))
    )
    assert result.top5 == pytest.approx(
        metrics.top_k_accuracy_score(places, chances, k=5, labels=range(8))
    )
    assert result.log_loss == pytest.approx(metrics.log_loss(places, chances, labels=range(8)))
    assert result.most_frequent == truth.count("l2") / 500
    assert result.nearest_mean == np.mean(top_indices(chances, 2)[:, 1] == places)
    assert result.unknown == 0.01
    expected = metrics.precision_recall_fscore_support(
        truth, guesses, labels=LABELS, zero_division=0
    )
    by_label = {figures.label: figures for figures in result.labels}
    assert sorted(by_label) == LABELS
    for number, label in enumerate(LABELS):
        own = by_label[label]
        found = (own.precision, own.recall, own.f1, own.images)
        assert found == pytest.approx([column[number] for column in expected])
    matrix = metrics.confusion_matrix(truth, guesses, labels=LABELS)
    assert {(a, b): n for a, b, n in result.confusion} == {
        (LABELS[a], LABELS[b]): matrix[a, b] for a, b in zip(*matrix.nonzero(), strict=True)
    }


def test_the_baseline_of_the_log_loss_agrees_with_scikit_learn() -> None:
    counts = np.array([70, 50, 40, 30, 20, 9, 8, 1])
    training = np.repeat(np.arange(8), counts)
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((len(training), 1)), training)
    result, truth, _ = drawn_evaluation(extra=("Kiwi", "Plum"), counts=counts)
    known = [LABELS.index(one) for one in truth if one in LABELS]
    chances = dummy.predict_proba(np.zeros((len(known), 1)))
    expected = metrics.log_loss(known, chances, labels=range(8))
    assert result.prior_log_loss == pytest.approx(expected)
    assert drawn_evaluation()[0].prior_log_loss is None


def test_the_calibration_error_agrees_with_its_definition() -> None:
    result, truth, chances = drawn_evaluation()
    right = np.array([LABELS[n] for n in chances.argmax(axis=1)]) == truth
    confidence = chances.max(axis=1)
    edges = np.linspace(0, 1, 16)
    expected = 0.0
    for low, high in pairwise(edges):
        own = (confidence >= low) & (confidence < high)
        if own.any():
            expected += own.mean() * abs(confidence[own].mean() - right[own].mean())

    assert result.calibration_error == pytest.approx(expected)
    assert sum(one.images for one in result.bins) == 500


def test_the_worst_confusions_come_first() -> None:
    worst = drawn_evaluation()[0].worst(3)

    assert len(worst) == 3
    assert all(true != predicted for true, predicted, _ in worst)
    assert worst[0][2] >= worst[1][2] >= worst[2][2] > 0


def test_unseen_labels_count_as_wrong_and_are_listed() -> None:
    known, _, _ = drawn_evaluation()
    result, truth, _ = drawn_evaluation(extra=("Kiwi", "Kiwi", "Plum"))

    assert result.unseen_labels == {"Kiwi": 2, "Plum": 1}
    assert result.images == 500
    assert result.accuracy <= known.accuracy
    assert next(f for f in result.labels if f.label == "Kiwi").recall == 0
    assert result.log_loss is not None
    assert "Kiwi" in truth


def test_the_log_loss_of_certain_and_correct_predictions_is_not_negative() -> None:
    tally, ones, first = Tally(["a", "b"]), np.ones(2), np.zeros((2, 2), np.int64)
    tally.add(["a", "a"], first[:, 0], ones, first, ones.copy(), None, None)
    result = evaluation_of(tally, "split", most_frequent="a")

    assert result.shown()["log loss"] == "0.000"


def test_without_known_labels_there_is_no_log_loss() -> None:
    tally, none = Tally(["a", "b"]), np.full(2, np.nan)
    first = np.zeros((2, 2), np.int64)
    tally.add(["x", "y"], first[:, 0], np.ones(2), first, none, None, None)
    result = evaluation_of(tally, "split", most_frequent="a", counts=np.array([3, 2]))

    assert result.log_loss is None
    assert result.prior_log_loss is None
    assert result.accuracy == 0
    assert result.unseen_labels == {"x": 1, "y": 1}


def test_of_very_many_labels_those_with_the_most_images_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = ("Fig", *["Kiwi"] * 3, *["Plum"] * 2, "Quince")
    whole = drawn_evaluation(extra=extra)[0]
    assert whole.left_out == {}
    assert "left_out" not in whole.to_json()

    monkeypatch.setattr("fruits.classify.evaluate.LISTED_LABELS", 2)
    monkeypatch.setattr("fruits.classify.evaluate.LISTED_CONFUSIONS", 10)
    result = drawn_evaluation(extra=extra)[0]

    assert result.unseen_labels == {"Kiwi": 3, "Plum": 2}
    by_images = sorted(whole.labels, key=lambda one: -one.images)
    assert result.labels == sorted(by_images[:2], key=lambda one: one.label)
    listed = [one.label for one in result.labels]
    right = [row for row in result.confusion if row[0] == row[1]]
    assert right == [row for row in whole.confusion if row[0] == row[1] and row[0] in listed]
    assert len(right) == 2
    assert len(result.confusion) == 10
    assert result.worst() == whole.worst(8)
    assert result.confusion == sorted(set(result.confusion) & set(whole.confusion))
    assert result.left_out == {
        "labels": len(whole.labels) - 2,
        "confusion": len(whole.confusion) - 10,
        "unseen_labels": 2,
        "unseen_images": 2,
    }
    assert result.unseen_images == whole.unseen_images == 7
    assert result.wrong_images == sum(n for a, b, n in whole.confusion if a != b)
    assert result.balanced_accuracy == whole.balanced_accuracy
    assert Evaluation.from_json(json.loads(json.dumps(result.to_json()))) == result
    title = confusion(whole, LABELS).get_suptitle()
    more = f"the 2 labels with the most images, of {len(whole.labels)}"
    assert confusion(result, LABELS).get_suptitle() == f"{title}\n{more}"


def test_an_evaluation_can_be_stored_as_json() -> None:
    result = drawn_evaluation()[0]

    content = json.loads(json.dumps(result.to_json(), allow_nan=False))

    assert content["scheme"] == "split"
    assert content["labels"][0].keys() == {
        "label",
        "images",
        "predicted",
        "precision",
        "recall",
        "f1",
    }


def test_evaluating_no_images_is_one_clear_error() -> None:
    with pytest.raises(InputError, match=r"wanted labelled images to evaluate \(split\)"):
        evaluation_of(Tally(["a"]), "split", most_frequent="a")


def test_neighbours_in_the_similarity_order_are_similar() -> None:
    line = np.array([[5.0], [0.0], [1.0], [4.0], [6.0]])

    assert similarity_order(line) == [4, 0, 3, 2, 1]


def test_sides_are_evaluated_in_batches_as_in_one_table() -> None:
    rng = np.random.default_rng(5)
    rows, chances = 400, rng.dirichlet(np.ones(8), 400)
    best = top_indices(chances, 5)
    columns = {
        "path": [f"{n:04}" for n in range(rows)],
        "label": [LABELS[n] if n < 8 else "new" for n in rng.integers(0, 9, rows)],
        "split": [(None, "test", "validation")[n] for n in rng.integers(0, 3, rows)],
        "predicted": best[:, 0],
        "confidence": chances.max(axis=1),
        "top": lists(best),
        "likelihood": chances[:, 0],
        "nearest": best[:, 1],
        "unknown": chances.max(axis=1) < 0.3,
    }
    scores = pa.table(columns, SCORES)
    whole = evaluate_sides(scores.to_batches(), LABELS, "l2", {"test": 3})

    batches = scores.drop_columns(["path"]).to_batches(max_chunksize=13)
    assert evaluate_sides(batches, LABELS, "l2", {"test": 3}) == whole

    assert [one.scheme for one in whole] == ["images given", "split: test", "split: validation"]
    assert [one.identical for one in whole] == [0, 3, 0]
    assert sum(one.images for one in whole) == rows
    own = scores.filter(pc.equal(scores["split"], "test"))
    names = ("predicted", "confidence", "top", "likelihood", "unknown", "nearest")
    tally = Tally(LABELS)
    tally.add(own["label"].to_pylist(), *(np.array(own[name].to_pylist()) for name in names))
    assert whole[1] == evaluation_of(tally, "split: test", most_frequent="l2", identical=3)
    nothing = scores.filter(pc.equal(scores["label"], "new"))
    assert evaluate_sides(nothing.to_batches(), LABELS, "l2", None) == []


def test_labels_that_are_not_in_the_given_order_come_last_by_alphabet() -> None:
    labels = ["Plum", "Fig", "Fig", "Apple", "Kiwi"]
    assert in_order(labels, ["Kiwi", "Lime", "Fig", "Kiwi"]) == ["Kiwi", "Fig", "Apple", "Plum"]
    assert in_order(labels, ()) == ["Apple", "Fig", "Kiwi", "Plum"]
