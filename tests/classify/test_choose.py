from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
from sklearn.discriminant_analysis import (  # type: ignore[import-untyped]
    LinearDiscriminantAnalysis,
)

from fruits.classify.calibrate import calibrated_loss
from fruits.classify.choose import choose
from fruits.classify.fit import SHRINKAGES
from fruits.classify.in_memory import folds_in_memory

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def easy(noise: Sequence[float]) -> Drawn:
    """Features of 60 images, their labels and folds; the labels are far apart."""
    rng = np.random.default_rng(4)
    labels = np.repeat(["Fig", "Kiwi", "Lime"], 20)
    centres = np.repeat(20.0 * np.eye(3, len(noise)), 20, axis=0)
    x = centres + rng.normal(size=(60, len(noise))) * noise
    return x.astype(np.float32), labels, np.arange(60) % 5


def margins_by_sklearn(drawn: Drawn, shrinkage: float) -> np.ndarray:
    x, labels, folds = drawn
    margins = []
    for fold in range(5):
        held = folds == fold
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
        logits = theirs.fit(x[~held].astype(np.float64), labels[~held]).decision_function(x[held])
        own = theirs.classes_ == labels[held][:, np.newaxis]
        margins.append(logits[own] - np.where(own, -np.inf, logits).max(axis=1))
    return np.concatenate(margins)


def smallest_loss(margins: np.ndarray) -> float:
    """Of two labels, whose true one has the target 1 - 1 / (n + 2)."""
    rest = 1 / (len(margins) + 2)

    def of(logarithm: float) -> np.ndarray:
        return np.logaddexp(0, -margins / np.exp(logarithm))

    def loss(logarithm: float) -> float:
        return float((of(logarithm) + rest * margins / np.exp(logarithm)).mean())

    return float(of(minimize_scalar(loss, bounds=(-5, 15), method="bounded").x).mean())


@pytest.mark.parametrize("noise", [[1.0] * 40, [0.1] * 3 + [5.0] * 9, [1.0] * 4])
def test_among_equal_accuracies_the_smallest_calibrated_loss_wins(noise: list[float]) -> None:
    drawn = easy(noise)
    x, labels, folds = drawn
    names = [str(label) for label in labels]
    paths = [f"{n}.jpg" for n in range(60)]

    choice = choose(*folds_in_memory(x, names, paths, folds, ("none",)))

    equal = [trial.shrinkage for trial in choice.trials if trial.accuracy == choice.best.accuracy]
    assert len(equal) > 5
    losses = {one: smallest_loss(margins_by_sklearn(drawn, one)) for one in equal}
    assert losses[choice.best.shrinkage] == pytest.approx(min(losses.values()), rel=1e-6)
    assert max(losses.values()) > min(losses.values()) * 1.001


def test_settings_that_do_not_differ_at_all_give_the_largest_shrinkage() -> None:
    # All images of a label are equal, so that each shrinkage gives the same margins, up to scale.
    x = np.repeat(np.eye(2, 3, dtype=np.float32), 10, axis=0)
    labels, paths = ["Fig"] * 10 + ["Lime"] * 10, [f"{n}.jpg" for n in range(20)]

    choice = choose(*folds_in_memory(x, labels, paths, np.arange(20) % 5, ("none", "sqrt")))

    assert {trial.accuracy for trial in choice.trials} == {1.0}
    assert choice.best.transform == "none"
    assert choice.best.shrinkage == choice.distance_shrinkage == max(SHRINKAGES)


def test_the_calibrated_loss_has_no_scale() -> None:
    margins = np.random.default_rng(5).normal(2, 1, 200)

    assert calibrated_loss(margins * 2.0**40) == calibrated_loss(margins)
    assert calibrated_loss(margins) == pytest.approx(smallest_loss(margins), rel=1e-6)
    assert calibrated_loss(np.empty(0)) == 0
