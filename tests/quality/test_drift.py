import re

import numpy as np
import pyarrow as pa
import pytest
from scipy.linalg import sqrtm

from fruits.features.moments import Moments
from fruits.features.rows import lists
from fruits.quality.drift import drift_of_runs, drift_of_splits
from fruits.quality.gaussian import Gaussian, frechet_distance
from fruits.quality.sides import sums_of_sides


def gaussian(seed: int, rows: int = 300, width: int = 12) -> Gaussian:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)
    return Gaussian(rows, x.mean(axis=0), np.cov(x, rowvar=False))


@pytest.mark.parametrize("rows", [300, 8])
def test_the_distance_agrees_with_the_formula_with_a_matrix_root(rows: int) -> None:
    one, other = gaussian(0), gaussian(1, rows)
    root = sqrtm(one.covariance @ other.covariance).real
    square = ((one.mean - other.mean) ** 2).sum()
    square += np.trace(one.covariance + other.covariance - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(np.sqrt(square), rel=1e-6)
    assert frechet_distance(other, one) == pytest.approx(np.sqrt(square), rel=1e-6)


def test_equal_gaussians_have_no_distance_and_shifted_ones_that_of_their_means() -> None:
    one = gaussian(0)
    shifted = Gaussian(one.count, one.mean + 2.0, one.covariance)
    assert frechet_distance(one, one) == 0
    assert frechet_distance(one, shifted) == pytest.approx(2 * np.sqrt(12), rel=1e-6)


def batches(x: np.ndarray, labels: list[str | None], splits: list[str | None]):  # type: ignore
    columns = {
        "label": pa.array(labels, pa.string()),
        "split": pa.array(splits, pa.string()),
        "pca": lists(x.astype(np.float32)),
    }
    return pa.table(columns).to_batches(max_chunksize=97)


def drawn(shift: float = 0.0) -> tuple[np.ndarray, list[str | None], list[str | None]]:  # type: ignore[type-arg]
    """400 training and 200 test images of two labels; the test images of one label are shifted."""
    rng = np.random.default_rng(0)
    labels: list[str | None] = [("Fig", "Lime")[n % 2] for n in range(600)]
    splits: list[str | None] = ["test" if n % 3 == 0 else "train" for n in range(600)]
    x = rng.normal(size=(600, 5))
    x[1::2] += 3
    x[[n for n in range(600) if labels[n] == "Fig" and splits[n] == "test"], 0] += shift
    return x.astype(np.float32), labels, splits


def test_sums_of_a_side_are_mean_and_covariance_of_its_rows() -> None:
    x, labels, splits = drawn()
    labels[0] = None
    sums = sums_of_sides(batches(x, labels, splits), {"test": 0.5})
    test = np.array([split == "test" for split in splits])
    ours = sums.sides["test"].gaussian()
    assert ours.count == 200
    np.testing.assert_allclose(ours.mean, x[test].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(ours.covariance, np.cov(x[test], rowvar=False), rtol=1e-6)
    fig = np.array([label == "Fig" for label in labels])
    own = sums.sides["test"].labels["Fig"]
    assert own.count == (test & fig).sum()
    np.testing.assert_allclose(own.total, x[test & fig].astype(float).sum(axis=0))
    part, rest = sums.by_chance["test"]
    assert part.count + rest.count == 600
    assert part.count == pytest.approx(200, abs=3)


def test_similar_sides_are_no_farther_than_random_samples() -> None:
    (one,) = drift_of_splits(batches(*drawn()), {"train": 400, "test": 200})
    assert (one.kind, one.split, one.other_split, one.path) == ("drift", "test", "train", None)
    assert one.score < 0.15
    found = re.fullmatch(
        r"distance from train: ([\d.]+) times its spread \(([\d.]+) expected by chance\); "
        r"200 images, and 400 of train",
        one.reason,
    )
    assert found
    assert float(found[1]) == pytest.approx(one.score, abs=0.006)
    chance = float(found[2])
    assert 0.3 < chance / one.score < 3


def test_a_label_whose_mean_has_moved_is_found() -> None:
    sides = {"train": 400, "test": 200}
    everything, label = drift_of_splits(batches(*drawn(shift=6)), sides)
    assert everything.label is None
    assert everything.score > 0.5
    assert (label.label, label.split, label.other_split) == ("Fig", "test", "train")
    assert drift_of_splits(batches(*drawn(shift=6)), sides, by_label=False) == [everything]
    # For five features of variance 1, the root mean squared distance is the square root of five.
    assert label.score == pytest.approx(6 / np.sqrt(5), rel=0.1)


def test_without_two_sides_there_is_no_drift() -> None:
    assert drift_of_splits([], {"train": 5}) == []
    assert drift_of_splits([], {"train": 5, "test": 1}) == []


def test_drift_of_runs_is_that_of_the_components_of_their_images() -> None:
    x, labels, _ = drawn()
    moved = x.copy()
    moved[::2, 1] += 6
    rng = np.random.default_rng(1)
    weights, offset = rng.normal(size=(5, 3)), rng.normal(size=3)
    before, now = Moments.of(x, labels), Moments.of(moved, labels)

    everything, *found = drift_of_runs(now, before, weights, offset, "train", "the last run")

    ours, theirs = (
        Gaussian(600, y.mean(axis=0), np.cov(y, rowvar=False))
        for y in (rows.astype(float) @ weights + offset for rows in (moved, x))
    )
    expected = frechet_distance(ours, theirs) / theirs.spread
    assert everything.score == pytest.approx(expected, rel=1e-6)
    assert (everything.split, everything.other_split) == ("train", "the last run")
    assert [one.label for one in found] == ["Fig"]
    assert drift_of_runs(before, before, weights, offset, None, "the last run") == []
    few = Moments.of(x[:1], labels[:1])
    assert drift_of_runs(few, before, weights, offset, None, "the last run") == []


def test_the_same_images_without_sums_of_labels_have_no_drift() -> None:
    x, labels, _ = drawn()
    now, before = Moments.of(x, [None] * len(x)), Moments.of(x, labels)
    for one, other in ((now, before), (before, now)):
        assert drift_of_runs(one, other, np.eye(5), np.zeros(5), None, "the last run") == []


def test_images_without_a_label_do_not_hide_that_a_label_has_moved() -> None:
    x, labels, _ = drawn()
    moved = x.copy()
    moved[::2, 1] += 6
    far = np.random.default_rng(1).normal(40, 1, size=(300, 5)).astype(np.float32)
    before, now = (
        Moments.of(np.concatenate([rows, far]), [*labels, *[None] * 300]) for rows in (x, moved)
    )

    _, *found = drift_of_runs(now, before, np.eye(5), np.zeros(5), "train", "the last run")

    assert [one.label for one in found] == ["Fig"]
    # As for two sides: the root mean squared distance of five features of variance 1.
    assert found[0].score == pytest.approx(6 / np.sqrt(5), rel=0.1)
    assert found[0].reason.endswith("; 300 images, and 300 of the last run")
