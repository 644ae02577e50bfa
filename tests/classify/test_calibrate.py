import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
from scipy.special import log_softmax  # type: ignore[import-untyped]

from fruits.classify import calibrate
from fruits.classify.calibrate import fit_temperature, fit_threshold
from fruits.classify.model import softmax


def test_the_temperature_has_the_smallest_log_loss() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 20_000)
    logits = rng.normal(size=(20_000, 5))
    logits[np.arange(20_000), truth] += 1
    logits *= 7

    def loss(logarithm: float) -> float:
        chances = softmax(logits / math.exp(logarithm))
        return float(-np.log(chances[np.arange(20_000), truth]).mean())

    best = math.exp(minimize_scalar(loss, bounds=(-3, 5), method="bounded").x)

    assert fit_temperature(logits, truth) == pytest.approx(best, rel=0.01)
    assert fit_temperature(logits - 1e4, truth) == pytest.approx(best, rel=0.01)
    unseen = np.append(truth, -1)
    with_other = np.vstack([logits, logits[:1]])
    assert fit_temperature(with_other, unseen) == fit_temperature(logits, truth)


def test_logits_that_are_read_in_blocks_give_the_same_temperature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    logits, truth = rng.normal(size=(300, 7)) * 5, rng.integers(-1, 7, 300)
    whole = fit_temperature(logits, truth)

    monkeypatch.setattr(calibrate, "_BLOCK", 70)

    assert fit_temperature(logits, truth) == pytest.approx(whole, rel=1e-12)


def test_correct_images_do_not_make_the_classifier_certain() -> None:
    logits = np.eye(3)[[0, 1, 2] * 10] * 50

    temperature = fit_temperature(logits, np.array([0, 1, 2] * 10))

    confidence = softmax(logits / temperature).max()
    assert 0.9 < confidence < 0.999


def separated(margin: float, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of 60 images and 4 labels; with a margin above 6, all images are correct."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, 60)
    logits = rng.uniform(-3, 3, size=(60, 4))
    logits[np.arange(60), truth] += margin
    return logits * scale, truth


def smallest_loss(logits: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The smallest log loss with Platt's targets, and its temperature, by SciPy."""
    count, labels = logits.shape
    targets = np.full(logits.shape, 1 / (count + 2) / (labels - 1))
    targets[np.arange(count), truth] = 1 - 1 / (count + 2)

    def loss(logarithm: float) -> float:
        return -float((targets * log_softmax(logits / math.exp(logarithm), axis=1)).sum())

    grid = np.linspace(-40, 40, 801)
    near = grid[int(np.argmin([loss(one) for one in grid]))]
    found = minimize_scalar(
        loss, bounds=(near - 0.1, near + 0.1), method="bounded", options={"xatol": 1e-10}
    )
    return float(found.fun), math.exp(found.x)


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1.0, 1e6, 1e12])
@pytest.mark.parametrize("margin", [1.0, 3.0, 7.0, 100.0])
def test_the_temperature_is_optimal_for_small_and_huge_logits(margin: float, scale: float) -> None:
    logits, truth = separated(margin, scale)

    temperature = fit_temperature(logits, truth)

    assert (logits.argmax(axis=1) == truth).all() == (margin > 6)
    _, expected = smallest_loss(logits, truth)
    assert temperature == pytest.approx(expected, rel=1e-6)
    confidence = softmax(logits / temperature).max(axis=1)
    assert 0.2 < confidence.mean() < 0.999


@pytest.mark.parametrize("margin", [-2.0, 0.0, 1.0, 100.0])
def test_the_temperature_is_proportional_to_the_logits(margin: float) -> None:
    logits, truth = separated(margin)
    temperature = fit_temperature(logits, truth)

    assert fit_temperature(logits * 2.0**70, truth) == temperature * 2.0**70
    for factor in (1e-9, 0.3, 7.0, 1e6, 1e12):
        expected = pytest.approx(temperature * factor, rel=1e-9)
        assert fit_temperature(logits * factor, truth) == expected


def test_a_few_images_with_huge_logits_do_not_hide_the_optimum() -> None:
    logits, truth = separated(100.0)
    logits[:3] *= 1e7

    temperature = fit_temperature(logits, truth)

    assert temperature == pytest.approx(smallest_loss(logits, truth)[1], rel=1e-6)


def test_logits_that_are_worse_than_chance_give_equal_probabilities_in_the_same_order() -> None:
    logits, truth = separated(-2.0, 1e6)

    chances = softmax(logits / fit_temperature(logits, truth))

    np.testing.assert_allclose(chances, 0.25, atol=1e-3)
    np.testing.assert_array_equal(chances.astype(np.float32).argmax(axis=1), logits.argmax(axis=1))


def test_without_images_or_without_different_logits_the_temperature_is_one() -> None:
    assert fit_temperature(np.empty((0, 3)), np.empty(0, np.int64)) == 1
    assert fit_temperature(np.ones((2, 3)), np.array([-1, -1])) == 1
    assert fit_temperature(np.full((2, 3), 7.0), np.array([0, 1])) == 1
    assert fit_threshold(np.empty(0)) == math.inf


def test_at_most_one_in_a_hundred_exceeds_the_threshold() -> None:
    distances = np.random.default_rng(0).gamma(3, size=5000)

    above = (distances > fit_threshold(distances)).mean()

    assert 0.009 <= above <= 0.01
