"""Photographs with what is said of them."""

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


@pytest.mark.parametrize("count", [7, 30])
def test_image_grid_keeps_long_labels_apart(count):
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
