import numpy as np
import pytest
from drawing import drawn, folds_of

from fruits.classify.groups import TRAIN_ONLY, assign_folds
from fruits.classify.in_memory import folds_in_memory
from fruits.classify.train import train
from fruits.classify.transforms import TRANSFORMS


@pytest.mark.parametrize(("rows", "width"), [(400, 20), (200, 250)])
def test_training_in_memory_agrees_with_exact_moments(rows: int, width: int) -> None:
    x, names, groups = drawn(rows, width)
    exact = train(*folds_of(x, names, groups, TRANSFORMS))
    paths = [f"{number}.jpg" for number in range(len(x))]
    folds = assign_folds(groups, names)
    ours = train(*folds_in_memory(x, names, paths, folds, TRANSFORMS))
    assert [trial.accuracy for trial in ours.trials] == [t.accuracy for t in exact.trials]
    assert ours.classifier.shrinkage == exact.classifier.shrinkage
    np.testing.assert_allclose(
        ours.classifier.coefficients, exact.classifier.coefficients, rtol=1e-6, atol=1e-9
    )
    assert ours.classifier.temperature == pytest.approx(exact.classifier.temperature, rel=1e-6)
    assert ours.classifier.threshold == pytest.approx(exact.classifier.threshold, rel=1e-6)
    assert ours.held_out is not None
    assert sorted(ours.held_out.paths) == sorted(paths)


def test_images_that_are_never_tested_are_in_the_moments_but_in_no_fold() -> None:
    x, names, groups = drawn(rows=60)
    folds = assign_folds(groups, names)
    folds[:7] = TRAIN_ONLY
    moments, parts = folds_in_memory(x, names, [""] * 60, folds, ("none",))
    assert moments["none"].count == 60
    assert sum(len(fold.labels) for fold in parts) == 53
    left = moments["none"].subtract(parts[0].moments["none"])
    assert left.count == 60 - len(parts[0].labels)
    kept = x[folds != folds[7:].min()].astype(float)
    np.testing.assert_allclose(left.scatter, np.cov(kept.T, bias=True) * len(kept), atol=1e-9)
