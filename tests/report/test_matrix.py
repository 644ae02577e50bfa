import numpy as np
import pytest
from drawn import drawn, names
from sklearn.metrics import confusion_matrix

from fruits.classify.evaluate import MATRIX_LABELS
from fruits.report.matrix import matrix


@pytest.mark.parametrize("count", [2, 12, 131])
def test_the_cells_are_those_of_scikit_learn(count: int) -> None:
    report = drawn(names(count), 12)
    shown = matrix(report.run["evaluation"][0], report.order)
    assert shown is not None
    truth, guess = (report.images[name].to_pylist() for name in ("label", "predicted"))
    theirs = confusion_matrix(truth, guess, labels=report.order)
    ours = np.zeros_like(theirs)
    for cell in shown.cells:
        ours[cell.row, cell.column] = cell.images
        assert cell.shade == pytest.approx(np.sqrt(cell.images / 12), abs=1e-3)
    np.testing.assert_array_equal(ours, theirs)
    assert shown.numbered == (count <= 20)
    assert shown.left_out == 0


def test_only_labels_with_the_most_wrong_images_are_shown() -> None:
    labels = [f"label {n:03}" for n in range(400)]
    rows = [[one, one, 5] for one in labels] + [["label 399", "label 200", 3]]
    evaluation = {"confusion": rows, "scheme": "split: test", "images": 2003}
    shown = matrix(evaluation, labels)
    assert shown is not None
    assert len(shown.names) == MATRIX_LABELS
    assert {"label 200", "label 399"} <= set(shown.names)
    assert shown.left_out == 250


def test_no_predictions_have_no_matrix() -> None:
    assert matrix({"confusion": [], "scheme": "split: test", "images": 0}, []) is None
