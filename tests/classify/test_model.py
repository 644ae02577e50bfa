import numpy as np
import pytest

from fruits.classify.model import top_indices


@pytest.mark.parametrize("labels", [1, 3, 5, 6, 131, 2000])
def test_the_best_labels_are_those_of_a_stable_sort(labels: int) -> None:
    rng = np.random.default_rng(labels)
    unequal = rng.random((40, labels))
    equal = unequal.round(1)
    mostly_zero = np.where(rng.random((40, labels)) < 3 / labels, equal, 0.0)
    for chances in (unequal, equal, mostly_zero, np.zeros((0, labels))):
        given = chances.copy()
        sorted_rows = np.argsort(-chances, axis=1, kind="stable")
        for count in (1, min(5, labels)):
            best = top_indices(chances, count)
            np.testing.assert_array_equal(best, sorted_rows[:, :count], strict=True)
        np.testing.assert_array_equal(chances, given)
