"""Confusion matrices with few and with many labels."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from evaluations import evaluated, guesses
from figures import LABELS, picture
from sklearn.metrics import confusion_matrix

from fruits import plots

NAMES = ["Apple Red 1", "Fig", "Kiwi", "Äpfel 2"]
MANY = [f"Kind {number % 40} Variety {number:04d}" for number in range(1000)]


def matrix(figure):
    return figure.axes[0].collections[0].get_array()


def ticks(figure):
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def listed(figure):
    """The lines next to the matrix: a number, and what it counts."""
    found = [text.get_text() for text in figure.axes[1].texts]
    return list(zip(found[::2], found[1::2], strict=True))


def test_cells_are_the_shares_that_scikit_learn_gives():
    truth, chances = guesses(len(NAMES), 500)
    figure = plots.confusion(evaluated(NAMES, 500))
    expected = confusion_matrix(truth, chances.argmax(axis=1), normalize="true")
    np.testing.assert_allclose(matrix(figure), expected)
    assert ticks(figure) == NAMES


def test_labels_come_in_the_order_that_is_given_and_others_after_them():
    order = ["Kiwi", "never seen", "Äpfel 2", "Apple Red 1"]
    figure = plots.confusion(evaluated(NAMES, 500), order)
    truth, chances = guesses(len(NAMES), 500)
    expected = confusion_matrix(
        truth, chances.argmax(axis=1), normalize="true", labels=[2, 3, 0, 1]
    )
    assert ticks(figure) == ["Kiwi", "Äpfel 2", "Apple Red 1", "Fig"]
    np.testing.assert_allclose(matrix(figure), expected)


def test_the_title_names_the_scheme_and_the_images():
    evaluation = evaluated(NAMES, 1500, "grouped cross-validation")
    title = plots.confusion(evaluation).get_suptitle()
    assert title.startswith("Confusion, grouped cross-validation: 1,500 images")
    assert title.endswith(f"accuracy {evaluation.accuracy:.1%}")


def test_the_worst_pairs_are_listed_with_their_images():
    evaluation = evaluated(NAMES, 500)
    figure = plots.confusion(evaluation)
    wrong = sum(n for true, guess, n in evaluation.confusion if true != guess)
    assert figure.axes[1].get_title(loc="left") == f"Most frequent pairs of {wrong} wrong images"
    assert listed(figure) == [(f"{n}", f"{a} → {b}") for a, b, n in evaluation.worst()]


@pytest.mark.parametrize("names", [NAMES, [f"{name} with a long name" for name in NAMES]])
def test_the_list_has_the_space_of_its_longest_line(names):
    figure = plots.confusion(evaluated(names, 500))
    picture(figure)
    axes = figure.axes[1]
    lines = [*axes.texts, axes._left_title]
    rest = figure.bbox.width - max(one.get_window_extent().x1 for one in lines)
    assert 0 < rest < 0.15 * figure.bbox.width


def test_images_of_labels_without_training_images_are_marked():
    figure = plots.confusion(evaluated(NAMES, 500, new=3))
    assert ticks(figure)[-1] == "Äpfel 2"
    assert "new" in ticks(figure)
    assert listed(figure)[-1] == ("*", "label without training images: 3 images")
    assert any(text.startswith("new* → ") for _, text in listed(figure))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 18, 131])
def test_every_label_is_named_if_the_names_fit(count):
    figure = plots.confusion(evaluated(LABELS[:count], 3000))
    picture(figure)
    axes = figure.axes[0]
    assert ticks(figure) == LABELS[:count]
    for names in (axes.get_yticklabels(), axes.get_xticklabels()):
        boxes = [text.get_window_extent() for text in names]
        assert not any(one.overlaps(two) for one, two in pairwise(boxes))


@pytest.mark.slow
def test_more_labels_are_merged_to_blocks_that_have_all_images():
    evaluation = evaluated(MANY, 4000)
    figure = plots.confusion(evaluation, MANY)
    picture(figure)
    occur = {label for row in evaluation.confusion for label in row[:2]}
    assert len(occur) > 990
    rows = {label: place // 10 for place, label in enumerate(x for x in MANY if x in occur)}
    expected = np.zeros((100, 100))
    for true, guess, images in evaluation.confusion:
        expected[rows[true], rows[guess]] += images
    np.testing.assert_allclose(matrix(figure), expected / expected.sum(axis=1, keepdims=True))
    assert ticks(figure)[0].startswith("Kind")
    assert figure.axes[0].get_xlabel() == "predicted label, in blocks of 10 neighbours"


def test_shares_are_those_of_all_images_if_not_all_labels_are_listed():
    figures = evaluated(NAMES, 500)
    listed = [one for one in figures.labels if one.label != "Fig"]
    figure = plots.confusion(replace(figures, labels=listed, left_out={"labels": 1}))
    truth, chances = guesses(len(NAMES), 500)
    whole = confusion_matrix(truth, chances.argmax(axis=1), normalize="true")
    assert ticks(figure) == ["Apple Red 1", "Kiwi", "Äpfel 2"]
    np.testing.assert_allclose(matrix(figure), whole[np.ix_([0, 2, 3], [0, 2, 3])])
    assert figure.get_suptitle().endswith("\nthe 3 labels with the most images, of 4")


def test_long_names_are_cut_in_the_middle_where_they_do_not_differ():
    long = [f"A very long name of a fruit and its variety, number {n}" for n in range(3)]
    names = ticks(plots.confusion(evaluated(long, 60)))
    assert len(set(names)) == 3
    assert all(name.startswith("A very") and "…" in name and len(name) <= 28 for name in names)


def test_without_a_wrong_image_the_list_is_empty():
    figure = plots.confusion(evaluated(NAMES, 200, sure=20))
    picture(figure)
    assert figure.axes[1].get_title(loc="left") == "No image is wrong"
    assert listed(figure) == []
