"""Transforms of features before the classifier, compared with scikit-learn."""

import numpy as np
import pytest
from drawing import Rows, drawn, folds_of
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import Normalizer

from fruits.classify.fit import Discriminant
from fruits.classify.train import train
from fruits.classify.transforms import TRANSFORMS, transform_features
from fruits.errors import InputError
from fruits.features.moments import Moments


@pytest.fixture(scope="module")
def signed() -> Rows:
    """Features of both signs and of many magnitudes, with a row of zeros."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 70)) * 10.0 ** rng.integers(-9, 9, (300, 70))).astype(np.float32)
    x[rng.random(x.shape) < 0.3] = 0
    x[17] = 0
    x[18] = np.float32(1e-20)
    x[19] = np.finfo(np.float32).max
    return x


def by_scikit_learn(x: Rows) -> Rows:
    exact = x.astype(np.float64)
    units: Rows = Normalizer("l2").fit_transform(np.copysign(np.sqrt(np.abs(exact)), exact))
    return units


def test_roots_are_divided_by_the_length_of_their_row(signed: Rows) -> None:
    units = transform_features(signed, "sqrt-l2")

    assert units.dtype == np.float32
    np.testing.assert_allclose(units, by_scikit_learn(signed), rtol=2e-7)
    lengths = np.linalg.norm(units.astype(np.float64), axis=1)
    np.testing.assert_allclose(np.delete(lengths, 17), 1, rtol=1e-7)
    np.testing.assert_array_equal(np.sign(units), np.sign(signed))


def test_a_row_of_zeros_does_not_change(signed: Rows) -> None:
    assert not transform_features(signed, "sqrt-l2")[17].any()
    assert transform_features(np.empty((0, 5), np.float32), "sqrt-l2").shape == (0, 5)


@pytest.mark.parametrize("width", [1, 3, 70])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_bits_of_a_row_do_not_depend_on_other_rows_or_the_memory_layout(
    signed: Rows, transform: str, width: int
) -> None:
    x = np.ascontiguousarray(signed[:, :width])
    whole = transform_features(x, transform)
    order = np.random.default_rng(1).permutation(len(x))

    np.testing.assert_array_equal(transform_features(x[order], transform), whole[order])
    np.testing.assert_array_equal(transform_features(np.asfortranarray(x), transform), whole)
    np.testing.assert_array_equal(transform_features(signed[:, :width], transform), whole)
    for size in (1, 2, 31, 33):
        parts = [transform_features(x[n : n + size], transform) for n in range(0, len(x), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_the_classifier_agrees_with_scikit_learn() -> None:
    x, names, _ = drawn()
    x -= 1
    x[5] = 0
    units = by_scikit_learn(x)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(units, names)

    moments = Moments.of(transform_features(x, "sqrt-l2"), names)
    ours = Discriminant.of(moments).classifier(0.1, "sqrt-l2")

    np.testing.assert_allclose(ours.coefficients, theirs.coef_, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.probabilities(x), theirs.predict_proba(units), atol=1e-6)


def test_moments_depend_only_on_the_set_of_rows() -> None:
    x, names, _ = drawn(500)
    x -= 1
    order = np.random.default_rng(2).permutation(500)
    parts = [
        Moments.of(transform_features(x[some], "sqrt-l2"), [names[n] for n in some])
        for some in np.split(order, [7, 300])
    ]
    units = transform_features(x, "sqrt-l2")
    whole = Moments.of(units, names)

    assert parts[2].merge(parts[0]).merge(parts[1]).to_bytes() == whole.to_bytes()
    left = whole.subtract(parts[0])
    kept = np.sort(order[7:])
    alone = Moments.of(units[kept], [names[n] for n in kept])
    assert left.products.equals(alone.products)
    assert left.total.equals(alone.total)


def test_the_best_transform_is_chosen() -> None:
    """Images of one label differ in brightness, which only the length removes."""
    rng = np.random.default_rng(0)
    x, names, groups = drawn(labels=3)
    x *= np.exp(2 * rng.normal(size=(len(x), 1))).astype(np.float32)

    training = train(*folds_of(x, names, groups, TRANSFORMS))

    best = {
        transform: max(one.accuracy for one in training.trials if one.transform == transform)
        for transform in TRANSFORMS
    }
    assert training.classifier.transform == max(best, key=lambda transform: best[transform])
    assert training.classifier.transform == "sqrt-l2"


def test_a_transform_that_makes_all_images_equal_is_skipped() -> None:
    rng = np.random.default_rng(0)
    names = ["a", "b"] * 50
    x = rng.uniform(1, 2, (100, 1)).astype(np.float32) + np.arange(100)[:, None] % 2
    groups = [f"{name}{n % 10}" for n, name in enumerate(names)]

    training = train(*folds_of(x, names, groups, TRANSFORMS))

    assert {trial.transform for trial in training.trials} == {"none", "sqrt"}
    assert training.classifier.transform in ("none", "sqrt")
    with pytest.raises(InputError, match="wanted images that differ"):
        train(*folds_of(x, names, groups, ("sqrt-l2",)))


def test_a_zero_row_does_not_cause_nan() -> None:
    x, names, _ = drawn()
    x[7] = 0
    discriminant = Discriminant.of(Moments.of(transform_features(x, "sqrt-l2"), names))

    found = discriminant.classifier(0.1, "sqrt-l2").predict(x)

    assert np.isfinite(found.confidence).all()
    assert np.isfinite(found.distance).all()


def test_an_unknown_transform_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted one of none, sqrt, sqrt-l2; got 'log'"):
        transform_features(np.ones((1, 1)), "log")
