"""The angles between the axes of two PCAs agree with SciPy's angles between subspaces."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from fruits.features.moments import Moments
from fruits.reduction import fit
from fruits.reduction.fit import fit_reduction, turned_degrees


def features(seed: int, rows: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, 12)) * np.geomspace(4, 0.2, 12)).astype(np.float32)


def axes_of(x: np.ndarray, count: int) -> np.ndarray:
    return PCA(count).fit(StandardScaler().fit_transform(x.astype(np.float64))).components_.T


@pytest.mark.parametrize("fitted_to", ["old", "new"])
def test_the_angles_agree_with_scipy(fitted_to: str) -> None:
    rows = {"old": features(0), "new": np.vstack([features(0), features(1)])}
    old, new = (Moments.of(x) for x in rows.values())
    # Equal sums that were read again are different objects.
    fitted = fit_reduction(Moments.of(rows[fitted_to]), "standard", 3)
    found = turned_degrees(old, new, fitted)
    assert found is not None
    assert list(found) == ["1", "2", "10"]
    for count, degrees in found.items():
        both = (axes_of(x, int(count)) for x in rows.values())
        assert degrees == pytest.approx(np.rad2deg(subspace_angles(*both)[0]), abs=1e-5)
        assert degrees > 0.1


def test_the_axes_of_the_same_images_are_not_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted = fit_reduction(Moments.of(features(0), ["Fig"] * 60), "minmax", 0.97)
    monkeypatch.delattr(fit, "principal_axes")
    relabelled = Moments.of(features(0)[::-1], ["Kiwi"] * 60)
    found = turned_degrees(relabelled, Moments.of(features(0)), fitted)
    assert found == {"1": 0.0, "2": 0.0, "10": 0.0}


def test_only_axes_that_both_bases_have_are_compared() -> None:
    few, many = features(0, rows=3), features(0)
    fitted = fit_reduction(Moments.of(many), "none", 3)
    found = turned_degrees(Moments.of(few), Moments.of(many), fitted)
    assert found is not None
    assert list(found) == ["1", "2"]


@pytest.mark.parametrize("count", [1, 5])
def test_images_that_all_look_the_same_have_no_angles(count: int) -> None:
    old, new = Moments.of(features(0)), Moments.of(np.repeat(features(1)[:1], count, axis=0))
    assert turned_degrees(old, new, fit_reduction(old, "minmax", 3)) is None
