"""Images in the plane of two components, at small and large numbers of labels."""

import time

import numpy as np
import pytest
from figures import LABELS, cloud, legend, picture, shares, styles, texts
from matplotlib.text import Text

from fruits import plots


@pytest.mark.parametrize("count", [1, 12, 20])
def test_scatter_explains_few_labels_in_a_sorted_legend_beside_the_axes(count):
    points, labels = cloud(100, LABELS[count - 1 :: -1])
    figure = plots.scatter(points, labels, shares(9))
    picture(figure)
    assert legend(figure) == LABELS[:count]
    assert texts(figure) == []
    beside = figure.legends[0].get_window_extent().x0
    assert beside >= figure.axes[0].get_window_extent().x1


def test_scatter_names_many_labels_at_their_centres():
    points, labels = cloud(1310, LABELS)
    figure = plots.scatter(points, labels, shares(9))
    assert figure.legends == []
    named = {text.get_text(): text.xy for text in figure.axes[0].texts}
    assert sorted(named) == LABELS
    centre = points[[label == LABELS[7] for label in labels]].mean(axis=0)
    assert named[LABELS[7]] == pytest.approx(centre, abs=1e-5)


def test_scatter_keeps_the_names_apart_and_within_the_axes():
    figure = plots.scatter(*cloud(1310, LABELS), shares(9))
    picture(figure)
    room = figure.axes[0].get_window_extent()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]  # no leader lines
    apart = sum(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert apart <= 5
    assert all(room.x0 <= box.x0 and box.x1 <= room.x1 for box in boxes)


def test_scatter_names_the_most_frequent_of_very_many_labels():
    names = [f"class {number}" for number in range(300)]
    points, labels = cloud(300, names)
    figure = plots.scatter(np.repeat(points, 2, axis=0)[100:], sorted(labels * 2)[100:], shares(9))
    assert len(texts(figure)) == plots.NAMED_LABELS
    assert "200 most frequent labels are named" in figure.axes[0].get_title()


@pytest.mark.parametrize("count", [12, 131])
def test_scatter_gives_every_label_its_own_style(count):
    figure = plots.scatter(*cloud(262, LABELS[:count]), shares(9))
    assert len(styles(figure.axes[0])) == count


def test_scatter_tells_the_share_of_each_axis_and_how_much_there_is_to_see():
    axes = plots.scatter(*cloud(1200, LABELS[:3]), np.array([0.5, 0.25, 0.25])).axes[0]
    assert axes.get_xlabel() == "PC1 (50.0% of the variance)"
    assert axes.get_ylabel() == "PC2 (25.0% of the variance)"
    assert axes.get_title() == "1,200 images, 3 labels"


@pytest.mark.parametrize("count", [3, 131])
def test_scatter_of_one_component_has_a_row_for_each_label(count):
    points, labels = cloud(262, LABELS[:count], columns=1)
    axes = plots.scatter(points, labels, np.array([1.0])).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == LABELS[:count]
    assert axes.get_xlabel().startswith("PC1")
    for row, line in enumerate(axes.get_lines()):
        assert np.abs(line.get_ydata() - row).max() < 0.5
        assert line.get_xdata() == pytest.approx(points[row::count, 0])


def test_scatter_of_twenty_thousand_points_draws_in_seconds():
    points, labels = cloud(20_000, LABELS)
    begin = time.perf_counter()
    picture(plots.scatter(points, labels, shares(9)))
    assert time.perf_counter() - begin < 10


@pytest.mark.parametrize("columns", [1, 2])
def test_scatter_takes_any_text_for_a_label(columns):
    odd = ["$a_b", "_hidden", "x" * 200, "two\nlines"]
    points, labels = cloud(8, odd, columns)
    figure = plots.scatter(points, labels, shares(9))
    picture(figure)
    axes = figure.axes[0]
    shown = legend(figure) if columns == 2 else [t.get_text() for t in axes.get_yticklabels()]
    assert {"$a_b", "_hidden", "two lines", "x" * 15 + "…" + "x" * 16} == set(shown)
