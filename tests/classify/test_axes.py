from dataclasses import replace

import numpy as np
import pytest
from drawing import drawn
from scipy.linalg import eigh
from sklearn.discriminant_analysis import (  # type: ignore[import-untyped]
    LinearDiscriminantAnalysis,
)

from fruits.classify.axes import discriminant_axes
from fruits.classify.fit import Discriminant
from fruits.features.moments import Moments


def signed(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return theirs * np.sign((ours * theirs).sum(axis=0))


@pytest.mark.parametrize("labels", [3, 7])
def test_the_axes_agree_with_scikit_learn(labels: int) -> None:
    x, names, _ = drawn(300, 20, labels)
    exact = x.astype(np.float64)
    theirs = LinearDiscriminantAnalysis(solver="eigen", n_components=2).fit(exact, names)
    axes = discriminant_axes(Discriminant.of(Moments.of(x, names)).classifier(0.0))
    ours = axes.coordinates(x)
    expected = theirs.transform(exact)
    expected = signed(ours, expected - expected.mean(axis=0))
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    np.testing.assert_allclose(axes.shares, theirs.explained_variance_ratio_, rtol=1e-8)


def test_shrunk_axes_solve_the_same_eigenproblem() -> None:
    x, names, _ = drawn(300, 20, 5)
    classifier = Discriminant.of(Moments.of(x, names)).classifier(0.3)
    exact = x.astype(np.float64)
    means = np.stack(
        [exact[[n == label for n in names]].mean(axis=0) for label in sorted(set(names))]
    )
    counts = np.array([names.count(label) for label in sorted(set(names))])
    centred = means - exact.mean(axis=0)
    between = (centred.T * counts) @ centred / len(x)
    within = np.cov(exact.T, bias=True) - between
    shrunk = 0.7 * within + 0.3 * np.trace(within) / 20 * np.eye(20)
    values, vectors = eigh(between, shrunk)
    axes = discriminant_axes(classifier)
    expected = signed(axes.weights, vectors[:, ::-1][:, :2])
    np.testing.assert_allclose(axes.weights, expected, atol=1e-8)
    np.testing.assert_allclose(axes.shares, values[::-1][:2] / values.clip(0).sum(), rtol=1e-8)


def test_axes_use_the_shrinkage_of_the_distances() -> None:
    x, names, _ = drawn(300, 20, 5)
    learned = Discriminant.of(Moments.of(x, names))
    both = discriminant_axes(learned.classifier(0.3, distance_shrinkage=0.9))
    same = discriminant_axes(learned.classifier(0.9))
    np.testing.assert_allclose(both.weights, same.weights, atol=1e-8)
    np.testing.assert_allclose(both.shares, same.shares, rtol=1e-8)


def test_two_labels_have_one_axis() -> None:
    x, names, _ = drawn(100, 10, 2)
    axes = discriminant_axes(Discriminant.of(Moments.of(x, names)).classifier(0.1))
    assert axes.coordinates(x).shape == (100, 1)
    assert axes.shares.tolist() == pytest.approx([1.0])


def test_a_softmax_regression_gives_each_label_the_same_weight() -> None:
    x, names, _ = drawn(200, 10, 3)
    classifier = replace(Discriminant.of(Moments.of(x, names)).classifier(0.1), kind="softmax")
    axes = discriminant_axes(classifier)
    centred = classifier.centres - classifier.centres.mean(axis=0)
    np.testing.assert_allclose(
        np.linalg.norm(centred @ np.linalg.pinv(classifier.whitening) @ axes.weights) ** 2 / 3,
        (np.linalg.svd(centred, compute_uv=False)[:2] ** 2).sum() / 3,
    )


def test_the_signs_of_axes_are_reproducible() -> None:
    x, names, _ = drawn(200, 10, 4)
    axes = discriminant_axes(Discriminant.of(Moments.of(x, names)).classifier(0.1))
    largest = np.abs(axes.weights).argmax(axis=0)
    assert (axes.weights[largest, [0, 1]] > 0).all()
