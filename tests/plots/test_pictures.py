"""Photographs with labels and other texts."""

import numpy as np
import pytest
from figures import LABELS, picture

from fruits import plots


def test_image_grid_shows_each_image_below_its_label():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (20 + number, 30, 3), np.uint8) for number in range(7)]
    figure = plots.image_grid(images, LABELS[:7])
    filled = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in filled] == LABELS[:7]
    for axes, image in zip(filled, images, strict=True):
        assert np.array_equal(axes.images[0].get_array(), image)


@pytest.mark.slow
@pytest.mark.parametrize("count", [7, 30])
def test_image_grid_does_not_overlap_long_labels(count):
    long = ["A very long label that names a fruit and its variety, $ and all", "W" * 70]
    figure = plots.image_grid([np.zeros((10, 10, 3), np.uint8)] * count, (long * count)[:count])
    picture(figure)
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.images]
    pictures = [axes.images[0].get_window_extent() for axes in figure.axes if axes.images]
    others = [box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i]]
    assert not any(others)
    assert not any(box.overlaps(picture) for box in boxes for picture in pictures)


def test_image_grid_of_nothing_is_an_empty_figure():
    assert min(picture(plots.image_grid([], [])).size) > 0


def square(value, height=30, width=30):
    return np.full((height, width, 3), value, np.uint8)


def shown(figure):
    return [axes for axes in figure.axes if axes.images]


def test_pairs_show_both_images_side_by_side_with_their_labels_and_counts():
    images = [(square(10), square(200)), (square(60, 15, 30), square(90))]
    worst = [("Äpfel 1", "Fig", 1200), ("Fig", "Kiwi", 3)]
    figure = plots.pairs(images, worst, "grouped cross-validation")
    picture(figure)
    one, two = shown(figure)
    assert (one.get_title(), two.get_title()) == ("Äpfel 1 → Fig (1,200)", "Fig → Kiwi (3)")
    assert figure.get_suptitle().startswith("Confusions, grouped cross-validation: 1,203 images")
    first, second = (axes.images[0].get_array() for axes in (one, two))
    middle = first.shape[0] // 2
    assert (first[middle, 5, 0], first[middle, -5, 0]) == (10, 200)
    assert (second[middle, 5, 0], second[middle, -5, 0]) == (60, 90)
    assert (second[5, 5, 0], second[5, -5, 0]) == (255, 90)  # the picture keeps its proportions


def test_suspects_show_the_label_and_the_predicted_one():
    figure = plots.suspects(
        [square(10), square(20)], ["Fig", "$a_b" * 40], [0.001, 0.02], ["Kiwi", "Lemon" * 40]
    )
    picture(figure)
    one, two = shown(figure)
    assert one.get_title() == "Fig (0.1%)\n→ Kiwi"
    given, predicted = two.get_title().split("\n")
    assert given.endswith("(2.0%)")
    assert predicted.startswith("→ Lemon")
    assert "…" in given
    assert "…" in predicted
    assert figure.get_suptitle().startswith("Labels that may be wrong: 2 images")
    assert np.array_equal(two.images[0].get_array(), square(20))


def test_no_confusions_and_no_suspects_are_figures_that_say_so():
    empty = plots.suspects([], [], [], [])
    assert min(picture(empty).size) > 50
    assert "wrong: 0 images" in empty.get_suptitle()
    assert "split: 0 images" in plots.pairs([], [], "split").get_suptitle()
