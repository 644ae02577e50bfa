from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from drawing import drawn
from sklearn.discriminant_analysis import (  # type: ignore[import-untyped]
    LinearDiscriminantAnalysis,
)
from sklearn.neighbors import NearestCentroid  # type: ignore[import-untyped]

from fruits.classify import model as model_module
from fruits.classify.fit import SHRINKAGES, Discriminant
from fruits.classify.model import Classifier, Predictions
from fruits.classify.transforms import transform_features
from fruits.errors import InputError
from fruits.features.moments import Moments


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
@pytest.mark.parametrize(("labels", "width", "rows"), [(4, 20, 400), (2, 20, 100), (7, 60, 40)])
def test_lda_agrees_with_scikit_learn(labels: int, width: int, rows: int, shrinkage: float) -> None:
    x, names, _ = drawn(rows, width, labels)
    exact = x.astype(np.float64)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(exact, names)

    ours = Discriminant.of(Moments.of(x, names)).classifier(shrinkage)

    assert list(ours.labels) == theirs.classes_.tolist()
    close = {"rtol": 1e-8, "atol": 1e-8}
    if labels == 2:
        coefficients = ours.coefficients[1:] - ours.coefficients[:1]
        intercept = ours.intercept[1:] - ours.intercept[:1]
    else:
        coefficients, intercept = ours.coefficients, ours.intercept
    np.testing.assert_allclose(coefficients, theirs.coef_, **close)
    np.testing.assert_allclose(intercept, theirs.intercept_, **close)
    np.testing.assert_allclose(ours.probabilities(x), theirs.predict_proba(exact), **close)
    predicted = [ours.labels[place] for place in ours.predict(x).predicted]
    assert predicted == theirs.predict(exact).tolist()


def test_the_distance_is_the_mahalanobis_distance_to_the_nearest_label() -> None:
    x, names, _ = drawn(200, 12, 3)
    shrinkage = 0.2
    exact = x.astype(np.float64)
    means = {label: exact[[n == label for n in names]].mean(axis=0) for label in set(names)}
    centred = exact - np.stack([means[name] for name in names])
    covariance = centred.T @ centred / len(x)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 12 * np.eye(12)
    inverse = np.linalg.inv(shrunk)
    expected = [
        min(float(np.sqrt((row - mean) @ inverse @ (row - mean))) for mean in means.values())
        for row in exact
    ]

    distances = Discriminant.of(Moments.of(x, names)).classifier(shrinkage).distances(x)

    np.testing.assert_allclose(distances, expected, rtol=1e-9)


def test_scores_of_many_shrinkages_equal_those_of_single_ones() -> None:
    x, names, _ = drawn()
    discriminant = Discriminant.of(Moments.of(x, names))

    together = discriminant.scores(x, "none", SHRINKAGES)

    for shrinkage, (likelihoods, lengths) in zip(SHRINKAGES, together, strict=True):
        own = discriminant.classifier(shrinkage)
        distances = lengths[:, np.newaxis] - 2 * likelihoods
        logits = likelihoods + discriminant.prior
        np.testing.assert_allclose(np.sqrt(distances.min(axis=1)), own.distances(x), rtol=1e-8)
        difference = own.logits(x) - logits
        np.testing.assert_allclose(difference, difference[:, :1].repeat(4, axis=1), atol=1e-8)


def test_distances_may_have_another_shrinkage() -> None:
    x, names, _ = drawn()
    discriminant = Discriminant.of(Moments.of(x, names))
    one, other = discriminant.classifier(0.01), discriminant.classifier(0.5)

    mixed = discriminant.classifier(0.01, distance_shrinkage=0.5)

    np.testing.assert_array_equal(mixed.logits(x), one.logits(x))
    np.testing.assert_array_equal(mixed.distances(x), other.distances(x))
    again = Classifier.from_bytes(mixed.to_bytes())
    assert (again.shrinkage, again.distance_shrinkage) == (0.01, 0.5)


def test_order_and_division_of_images_do_not_change_the_bits() -> None:
    x, names, _ = drawn(500)
    order = np.random.default_rng(1).permutation(500)
    parts = [Moments.of(x[some], [names[n] for n in some]) for some in np.split(order, [7, 300])]
    grown = parts[2].merge(parts[0]).merge(parts[1])

    whole = Discriminant.of(Moments.of(x, names)).classifier(0.1)

    assert Discriminant.of(grown).classifier(0.1).to_bytes() == whole.to_bytes()


def test_subtracting_a_part_equals_fitting_the_rest() -> None:
    x, names, _ = drawn(500)
    left = Moments.of(x, names).subtract(Moments.of(x[:100], names[:100]))

    rest = Discriminant.of(Moments.of(x[100:], names[100:])).classifier(0.1)

    assert Discriminant.of(left).classifier(0.1).to_bytes() == rest.to_bytes()


def test_the_nearest_mean_agrees_with_scikit_learn() -> None:
    x, names, _ = drawn()
    theirs = NearestCentroid().fit(x.astype(np.float64), names)
    discriminant = Discriminant.of(Moments.of(x, names))

    places = discriminant.nearest_mean(x)

    expected = theirs.predict(x.astype(np.float64)).tolist()
    assert [discriminant.labels[place] for place in places] == expected


def test_a_classifier_is_fitted_to_transformed_features() -> None:
    x, names, _ = drawn()
    x[:, 0] -= 1
    roots = np.sign(x) * np.sqrt(np.abs(x))
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(
        roots.astype(np.float64), names
    )

    ours = Discriminant.of(Moments.of(transform_features(x, "sqrt"), names)).classifier(0.1, "sqrt")

    np.testing.assert_allclose(
        ours.probabilities(x), theirs.predict_proba(roots.astype(np.float64)), atol=1e-8
    )


def test_a_label_with_one_image_is_learned() -> None:
    x, names, _ = drawn()
    names[17] = "rare"
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(
        x.astype(np.float64), names
    )

    ours = Discriminant.of(Moments.of(x, names)).classifier(0.1)

    assert "rare" in ours.labels
    np.testing.assert_allclose(ours.coefficients, theirs.coef_, rtol=1e-8, atol=1e-8)


def test_with_one_image_of_each_label_the_nearest_mean_decides() -> None:
    x, _, _ = drawn(30)
    names = [str(n) for n in range(30)]

    ours = Discriminant.of(Moments.of(x, names)).classifier(0.1)

    assert [ours.labels[place] for place in ours.predict(x).predicted] == names
    assert np.isfinite(ours.coefficients).all()


def test_thousands_of_labels() -> None:
    x, _, _ = drawn(9000, 10)
    names = [f"{n % 3000:04}" for n in range(9000)]

    ours = Discriminant.of(Moments.of(x, names)).classifier(0.1)

    assert ours.coefficients.shape == (3000, 10)
    assert ours.predict(x[:100]).top.shape == (100, 5)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Fig"] * 9, "wanted at least two labels for a classifier; got only 'Fig'"),
        ([], "wanted at least two labels for a classifier; got none"),
    ],
)
def test_fewer_than_two_labels_are_one_clear_error(names: list[str], message: str) -> None:
    moments = Moments.of(np.ones((9, 3)), names) if names else Moments.empty()

    with pytest.raises(InputError, match=message) as caught:
        Discriminant.of(moments).classifier(0.1)
    assert "\n" not in str(caught.value)


def test_identical_images_are_one_clear_error() -> None:
    with pytest.raises(InputError, match="wanted images that differ; got 9 with the same"):
        Discriminant.of(Moments.of(np.ones((9, 3)), ["a"] * 4 + ["b"] * 5)).classifier(0.1)


def test_images_without_a_label_are_refused() -> None:
    with pytest.raises(ValueError, match="all have a label"):
        Discriminant.of(Moments.of(drawn(9)[0], ["a", "b", None] * 3)).classifier(0.1)


# The classifier


@pytest.fixture(scope="module")
def model() -> Classifier:
    x, names, _ = drawn(300, 100, 7)
    return Discriminant.of(Moments.of(x, names)).classifier(0.2, "sqrt", 1.7, 12.0)


def test_packed_classifiers_are_complete(model: Classifier) -> None:
    restored = Classifier.from_bytes(model.to_bytes())

    assert restored.to_bytes() == model.to_bytes()
    assert restored.labels == model.labels
    assert (restored.kind, restored.transform, restored.threshold) == ("lda", "sqrt", 12.0)
    np.testing.assert_array_equal(restored.whitening, model.whitening)


def test_a_prediction_does_not_depend_on_other_images(model: Classifier) -> None:
    x, names, _ = drawn(2500, 100, 7, seed=1)
    truth = model.label_indices([*names[:-1], None])
    together = model.predict(x, truth)
    some = np.random.default_rng(0).permutation(2500)[:70]

    parts = [(some, model.predict(x[some], truth[some]))]
    parts += [
        (some[n : n + 1], model.predict(x[some[n : n + 1]], truth[some[n : n + 1]]))
        for n in range(20)
    ]

    for rows, part in parts:
        for name in vars(together):
            np.testing.assert_array_equal(getattr(part, name), getattr(together, name)[rows])


def test_with_many_labels_few_images_are_predicted_at_a_time(
    model: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(2).normal(size=(50, model.mean.size)).astype(np.float32)
    found = model.predict(x)
    rows: list[int] = []
    whole = Classifier.probabilities

    def probabilities(self: Classifier, features: Any) -> Any:
        rows.append(len(features))
        return whole(self, features)

    monkeypatch.setattr(model_module, "_CHANCES", 3 * len(model.labels))
    monkeypatch.setattr(Classifier, "probabilities", probabilities)

    again = model.predict(x)

    assert max(rows) == 3
    for field in fields(Predictions):
        assert getattr(found, field.name).tobytes() == getattr(again, field.name).tobytes()


def test_predictions_agree_with_their_probabilities(model: Classifier) -> None:
    x, names, _ = drawn(50, 100, 7, seed=2)
    chances = model.probabilities(x)

    result = model.predict(x, model.label_indices([*names[:-2], "no such label", None]))

    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_array_equal(result.predicted, chances.argmax(axis=1))
    np.testing.assert_array_equal(result.confidence, chances.max(axis=1))
    assert (np.diff(result.top_probability, axis=1) <= 0).all()
    assert result.top.shape == (50, 5)
    np.testing.assert_array_equal(result.unknown, model.distances(x) > 12.0)
    assert np.isnan(result.likelihood[-2:]).all()
    assert result.likelihood[3] == chances[3, model.labels.index(names[3])]


def test_no_images_have_no_predictions(model: Classifier) -> None:
    result = model.predict(np.empty((0, 100), np.float32))

    assert result.predicted.shape == (0,)
    assert result.top.shape == (0, 5)


def test_features_of_another_network_are_refused(model: Classifier) -> None:
    with pytest.raises(InputError, match="wanted rows of 100 features; got 99"):
        model.predict(np.ones((2, 99), np.float32))


def test_a_file_of_another_version_is_refused(
    model: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fruits.classify.model._VERSION", 9)
    packed = model.to_bytes()
    monkeypatch.undo()

    with pytest.raises(ValueError, match="got that of an earlier one"):
        Classifier.from_bytes(packed)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: b"",
        lambda packed: packed[:-9],
        lambda packed: packed.replace(b'"version"', b'"Version"'),
        lambda packed: b"\x93NUMPY" + packed,
    ],
    ids=["nothing", "cut short", "changed", "something else"],
)
def test_a_damaged_file_is_refused(model: Classifier, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match="wanted a classifier's file"):
        Classifier.from_bytes(damage(model.to_bytes()))
