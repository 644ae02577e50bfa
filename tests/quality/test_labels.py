import numpy as np
import pytest
from cleanlab.filter import find_label_issues  # type: ignore[import-untyped]
from drawing import drawn, folds_of

from fruits.classify.groups import assign_folds
from fruits.classify.train import train
from fruits.quality.labels import Answers, confidence_needed, label_suspects, least_probable

NAMES = [f"fruit {n}" for n in range(4)]


def answers_of(chances: np.ndarray, labels: list[str]) -> Answers:  # type: ignore[type-arg]
    """All labels in the order of their probability, like those of a classifier of five labels."""
    top = np.argsort(-chances, axis=1, kind="stable")
    own = np.array([NAMES.index(label) if label in NAMES else -1 for label in labels], int)
    likelihood = np.where(own >= 0, chances[np.arange(len(own)), own], np.nan)
    probability = np.take_along_axis(chances, top, axis=1)
    paths = [f"{n:04}" for n in range(len(labels))]
    return Answers(paths, labels, [None] * len(labels), top, probability, likelihood)


def held_out_chances(seed: int) -> tuple[np.ndarray, list[str], set[str]]:  # type: ignore[type-arg]
    """Probabilities of held-out images, some of which have changed labels."""
    x, labels, groups = drawn(rows=600, seed=seed)
    planted = np.random.default_rng(seed).choice(len(x), 15, replace=False)
    for n in planted:
        labels[n] = NAMES[(NAMES.index(labels[n]) + 1) % 4]
    total, folds = folds_of(x, labels, groups)
    numbers = assign_folds(groups, labels)
    order = [n for fold in range(5) for n in np.flatnonzero(numbers == fold)]
    held_out = train(total, folds).held_out
    assert held_out is not None
    chances = np.empty((len(order), 4))
    np.put_along_axis(
        chances, held_out.predictions.top, held_out.predictions.top_probability, axis=1
    )
    places = {n: place for place, n in enumerate(order)}
    return chances, held_out.labels, {f"{places[n]:04}" for n in planted if n in places}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_suspects_are_those_of_cleanlab(seed: int) -> None:
    chances, labels, _ = held_out_chances(seed)
    answers = answers_of(chances, labels)

    found = label_suspects(answers, NAMES, confidence_needed([answers], NAMES))

    truth = np.array([NAMES.index(label) for label in labels])
    theirs = find_label_issues(
        truth,
        chances,
        filter_by="confident_learning",
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    assert [int(str(one.path)) for one in found] == theirs.tolist()
    assert len(found) > 5


def test_planted_labels_come_first() -> None:
    chances, labels, planted = held_out_chances(0)
    answers = answers_of(chances, labels)
    found = label_suspects(answers, NAMES, confidence_needed([answers], NAMES))
    assert len(planted & {one.path for one in found}) >= 0.6 * len(planted)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    first = found[0]
    assert first.path in planted
    assert (first.kind, first.label == first.other_label) == ("label suspect", False)
    assert str(first.other_label) in first.reason


def test_a_label_that_the_classifier_does_not_know_is_no_suspect() -> None:
    chances = np.array([[0.9, 0.1, 0, 0], [0.8, 0.2, 0, 0], [0.9, 0.1, 0, 0]])
    answers = answers_of(chances, ["fruit 0", "fruit 1", "Plum"])
    needed = np.array([0.85, 0.2, np.inf, np.inf])
    assert [one.path for one in label_suspects(answers, NAMES, needed)] == []
    needed = np.array([0.7, 0.2, np.inf, np.inf])
    assert [one.path for one in label_suspects(answers, NAMES, needed)] == ["0001"]
    np.testing.assert_allclose(confidence_needed([answers], NAMES)[:2], [0.9, 0.2])
    assert np.isinf(confidence_needed([answers], NAMES)[2:]).all()


def test_without_images_there_are_no_suspects() -> None:
    answers = answers_of(np.empty((0, 4)), [])
    assert label_suspects(answers, NAMES, confidence_needed([answers], NAMES)) == []


def test_suspects_do_not_depend_on_the_division_into_parts() -> None:
    chances, labels, _ = held_out_chances(1)
    answers = answers_of(chances, labels)
    places = np.array_split(np.arange(len(labels)), 9)
    parts = [answers.take(some) for some in places]
    needed = confidence_needed(parts, NAMES)
    assert needed.tolist() == confidence_needed([answers], NAMES).tolist()
    expected = label_suspects(answers, NAMES, needed)

    kept, more = least_probable(parts, NAMES, needed, len(labels))
    assert (label_suspects(kept, NAMES, needed), more) == (expected, 0)
    kept, more = least_probable(parts, NAMES, needed, 4)
    assert (label_suspects(kept, NAMES, needed), more) == (expected[:4], len(expected) - 4)
    assert len(least_probable([], NAMES, needed, 4)[0].paths) == 0
