import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from drawing import Rows, drawn, folds_of
from sklearn.discriminant_analysis import (  # type: ignore[import-untyped]
    LinearDiscriminantAnalysis,
)
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from fruits.classify.calibrate import fit_temperature
from fruits.classify.fit import SHRINKAGES
from fruits.classify.groups import FOLDS, assign_folds
from fruits.classify.in_memory import folds_in_memory
from fruits.classify.train import SCHEME, train
from fruits.classify.transforms import TRANSFORMS, transform_features
from fruits.errors import InputError
from fruits.features.moments import Moments


def test_trials_equal_fits_without_each_fold() -> None:
    x, names, groups = drawn()
    numbers = assign_folds(groups, names)
    exact, labels = x.astype(np.float64), np.array(names)

    training = train(*folds_of(x, names, groups))

    for trial in training.trials:
        right = 0
        for fold in range(5):
            held = numbers == fold
            theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=trial.shrinkage)
            theirs.fit(exact[~held], labels[~held])
            right += int((theirs.predict(exact[held]) == labels[held]).sum())
        assert trial.accuracy == right / len(x)
    assert [trial.shrinkage for trial in training.trials] == list(SHRINKAGES)
    best = max(trial.accuracy for trial in training.trials)
    chosen = [t for t in training.trials if t.shrinkage == training.classifier.shrinkage]
    assert chosen[0].accuracy == best


def _flagged_without_own_label(
    x: np.ndarray, labels: np.ndarray, numbers: np.ndarray, shrinkage: float
) -> int:
    """The images that exceed the threshold without their own label, by inverse matrices."""
    nearest, others = [], []
    for fold in range(5):
        held = numbers == fold
        means = {label: x[~held & (labels == label)].mean(axis=0) for label in set(labels)}
        centred = x[~held] - np.stack([means[label] for label in labels[~held]])
        covariance = centred.T @ centred / len(centred)
        average = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        inverse = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * average)
        for row, own in zip(x[held], labels[held], strict=True):
            far = {key: float((row - m) @ inverse @ (row - m)) for key, m in means.items()}
            nearest.append(min(far.values()))
            others.append(min(value for key, value in far.items() if key != own))
    return int((np.array(others) > np.quantile(nearest, 0.99, method="higher")).sum())


def test_the_shrinkage_of_distances_detects_the_most_images_of_unknown_labels() -> None:
    x, names, groups = drawn()
    labels, numbers = np.array(names), assign_folds(groups, names)

    chosen = train(*folds_of(x, names, groups)).classifier.distance_shrinkage

    flagged = {
        shrinkage: _flagged_without_own_label(x.astype(np.float64), labels, numbers, shrinkage)
        for shrinkage in SHRINKAGES
    }
    assert len(set(flagged.values())) > 1
    assert flagged[chosen] == max(flagged.values())


def test_the_evaluation_covers_the_held_out_images() -> None:
    x, names, groups = drawn()

    training = train(*folds_of(x, names, groups, ("none", "sqrt")))

    evaluation = training.evaluation
    assert evaluation is not None
    assert evaluation.scheme == SCHEME
    assert evaluation.images == len(x)
    assert evaluation.accuracy == max(trial.accuracy for trial in training.trials)
    assert {trial.transform for trial in training.trials} == {"none", "sqrt"}
    assert evaluation.unknown <= 0.05
    assert evaluation.calibration_error < 0.06
    assert evaluation.nearest_mean is not None
    assert evaluation.most_frequent <= evaluation.nearest_mean


def test_held_out_predictions_match_the_evaluation() -> None:
    x, names, groups = drawn()
    total, folds = folds_of(x, names, groups)
    numbers = assign_folds(groups, names)
    own = [[str(n) for n in np.flatnonzero(numbers == fold)] for fold in range(5)]
    folds = [replace(fold, paths=paths) for fold, paths in zip(folds, own, strict=True)]

    training = train(total, folds)

    held_out, evaluation = training.held_out, training.evaluation
    assert held_out is not None
    assert evaluation is not None
    assert [names[int(path)] for path in held_out.paths] == held_out.labels
    labels = training.classifier.labels
    predicted = [labels[place] for place in held_out.predictions.predicted]
    wrong = Counter((a, b) for a, b in zip(held_out.labels, predicted, strict=True) if a != b)
    assert wrong == {(a, b): n for a, b, n in evaluation.confusion if a != b}
    likelihood = held_out.predictions.likelihood
    right = np.array(predicted) == np.array(held_out.labels)
    np.testing.assert_array_equal(likelihood[right], held_out.predictions.confidence[right])
    assert -np.log(likelihood).mean() == pytest.approx(evaluation.log_loss)


def test_grouped_folds_give_a_lower_accuracy_than_random_ones() -> None:
    x, names, groups = drawn(rows=2000, groups=5)
    alone = [str(n) for n in range(len(x))]

    together, scattered = (train(*folds_of(x, names, g)).evaluation for g in (groups, alone))

    assert together is not None
    assert scattered is not None
    assert scattered.accuracy > together.accuracy + 0.03


def test_the_order_of_images_does_not_change_the_bits() -> None:
    x, names, groups = drawn()
    order = np.random.default_rng(3).permutation(len(x))
    shuffled = x[order], [names[n] for n in order], [groups[n] for n in order]

    one, other = train(*folds_of(x, names, groups)), train(*folds_of(*shuffled))

    assert one.trials == other.trials
    assert one.classifier.shrinkage == other.classifier.shrinkage
    assert one.classifier.coefficients.tobytes() == other.classifier.coefficients.tobytes()
    assert one.classifier.threshold == other.classifier.threshold
    assert one.classifier.temperature == pytest.approx(other.classifier.temperature, rel=1e-9)


def test_a_softmax_regression_is_calibrated_and_evaluated_on_the_same_folds() -> None:
    x, names, groups = drawn()
    numbers = assign_folds(groups, names)
    labels, asked = np.array(names), []

    def fit(without: int | None, wanted: Sequence[str], transform: str) -> tuple[Rows, Rows]:
        asked.append((without, transform))
        left = numbers != without
        theirs = LogisticRegression(max_iter=1000).fit(
            transform_features(x[left], transform), labels[left]
        )
        assert list(theirs.classes_) == list(wanted)
        return theirs.coef_, theirs.intercept_

    training = train(*folds_of(x, names, groups, ("sqrt",)), fit)

    held_out = np.concatenate([np.flatnonzero(numbers == fold) for fold in range(5)])
    logits = np.zeros((len(x), 4))
    for fold in range(5):
        coefficients, intercept = fit(fold, training.classifier.labels, "sqrt")
        own = numbers == fold
        logits[own] = transform_features(x[own], "sqrt") @ coefficients.T + intercept
    truth = np.array([training.classifier.labels.index(name) for name in names])
    assert training.evaluation is not None
    assert training.evaluation.accuracy == (logits.argmax(axis=1) == truth).mean()
    assert asked[:6] == [*((fold, "sqrt") for fold in range(5)), (None, "sqrt")]
    classifier = training.classifier
    assert classifier.kind == "softmax"
    expected = fit_temperature(logits[held_out], truth[held_out])
    assert classifier.temperature == pytest.approx(expected, rel=1e-6)
    lda = train(*folds_of(x, names, groups, ("sqrt",))).classifier
    assert classifier.threshold == lda.threshold
    assert classifier.centres.tobytes() == lda.centres.tobytes()
    assert np.abs(classifier.coefficients - lda.coefficients).max() > 0.1


def test_a_softmax_regression_needs_no_folds() -> None:
    x, names, _ = drawn(60)
    moments = Moments.of(x, names)
    zeros = np.zeros((4, x.shape[1])), np.arange(4.0)

    training = train({"none": moments}, [], lambda *_: zeros)

    assert training.evaluation is None
    assert training.classifier.kind == "softmax"
    assert set(training.classifier.predict(x).predicted) == {3}


def test_without_held_out_images_there_is_a_classifier_but_no_evaluation() -> None:
    x, names, _ = drawn(60)

    training = train({"none": Moments.of(x, names)}, [])

    assert training.evaluation is None
    assert training.trials == []
    assert training.classifier.temperature == 1
    assert training.classifier.threshold == math.inf


def test_a_label_whose_groups_are_in_one_fold_is_trained_but_not_tested() -> None:
    x, names, groups = drawn()
    # The first and the sixth of the groups with several labels are in one fold.
    for place, group in enumerate(sorted(set(groups))[:6]):
        for n in [n for n, own in enumerate(groups) if own == group][:3]:
            names[n] = "other" if place % FOLDS else "rare"

    training = train(*folds_of(x, names, groups))

    assert "rare" in training.classifier.labels
    assert training.evaluation is not None
    assert training.evaluation.images == len(x) - names.count("rare") == len(x) - 6


def test_a_label_that_is_missing_without_a_fold_counts_as_wrong_but_has_no_likelihood() -> None:
    x, names, groups = drawn()
    numbers = assign_folds(groups, names)
    for n in np.flatnonzero(numbers == 0)[:10]:
        names[n] = "rare"

    training = train(*folds_of(x, names, groups, numbers=numbers))

    held_out, evaluation = training.held_out, training.evaluation
    assert held_out is not None
    assert evaluation is not None
    rare = np.array(held_out.labels) == "rare"
    likelihood = held_out.predictions.likelihood
    assert rare.sum() == 10
    assert np.isnan(likelihood).tolist() == rare.tolist()
    assert evaluation.log_loss == pytest.approx(-np.log(likelihood[~rare]).mean())
    assert evaluation.images == len(x)
    assert [one.recall for one in evaluation.labels if one.label == "rare"] == [0]


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_fold_with_all_images_that_differ_is_not_tested(in_memory: bool) -> None:
    x = np.repeat([[1, 2, 3], [3, 1, 2]], [5, 1], axis=0).astype(np.float32)
    names, numbers = ["Fig"] * 3 + ["Lime"] * 3, np.array([0, 1, 2, 0, 1, 3])
    paths = [f"{number}.jpg" for number in range(6)]
    if in_memory:
        training = train(*folds_in_memory(x, names, paths, numbers, TRANSFORMS))
    else:
        training = train(*folds_of(x, names, paths, TRANSFORMS, numbers))

    assert training.evaluation is not None
    assert training.evaluation.images == 5
    assert training.classifier.labels == ("Fig", "Lime")


def test_one_label_is_one_clear_error() -> None:
    x, _, groups = drawn(50)
    with pytest.raises(InputError, match="wanted at least two labels"):
        train(*folds_of(x, ["Fig"] * 50, groups))
