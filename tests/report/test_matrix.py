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
    figures = [{"label": one, "images": 8 if one == "label 399" else 5} for one in labels]
    evaluation = {"confusion": rows, "labels": figures, "scheme": "split: test", "images": 2003}
    shown = matrix(evaluation, labels)
    assert shown is not None
    assert len(shown.names) == MATRIX_LABELS
    assert {"label 200", "label 399"} <= set(shown.names)
    assert shown.left_out == 250


def test_totals_are_those_of_all_images_if_not_all_rows_are_listed() -> None:
    evaluation = {
        "confusion": [["a", "a", 3], ["a", "b", 1], ["c", "a", 2], ["c", "b", 1]],
        "labels": [{"label": "a", "images": 16}, {"label": "b", "images": 9}],
        "left_out": {"labels": 70, "confusion": 90},
        "scheme": "split: test",
        "images": 500,
    }
    shown = matrix(evaluation, ["a", "b", "c"])
    assert shown is not None
    assert shown.left_out == 2 + 70 - 3
    assert {cell.text: cell.shade for cell in shown.cells} == {
        "a → a: 3 of 16 images": pytest.approx(np.sqrt(3 / 16), abs=1e-3),
        "a → b: 1 of 16 images": 0.25,
        "c → a: 2 of at least 3 images": pytest.approx(np.sqrt(2 / 3), abs=1e-3),
        "c → b: 1 of at least 3 images": pytest.approx(np.sqrt(1 / 3), abs=1e-3),
    }
    whole = matrix({**evaluation, "left_out": {"labels": 1}}, [])
    assert whole is not None
    assert whole.left_out == 0
    assert "c → b: 1 of 3 images" in [cell.text for cell in whole.cells]


def test_no_predictions_have_no_matrix() -> None:
    assert matrix({"confusion": [], "labels": [], "scheme": "split: test", "images": 0}, []) is None
