"""The figures: what they say of their data, at small and large numbers of labels."""

import io
import time
import warnings

import matplotlib.pyplot
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from fruits import plots

LABELS = [f"Variety {number:03d}" for number in range(131)]


def shares(d):
    variance = 1 / np.arange(1, d + 1)
    return variance / variance.sum()


def cloud(count, names, columns=2):
    rng = np.random.default_rng(0)
    numbers = np.arange(count) % len(names)
    centres = rng.normal(scale=4, size=(len(names), columns))
    points = centres[numbers] + rng.normal(size=(count, columns))
    return points.astype(np.float32), [names[number] for number in numbers]


def picture(figure):
    """The figure as it is saved; anything that matplotlib finds amiss is an error."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(buffer, format="png", bbox_inches="tight")
    return Image.open(buffer)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def styles(axes):
    return {(line.get_marker(), to_hex(line.get_color())) for line in axes.get_lines()}


FIGURES = {
    "scree": lambda: plots.scree(shares(2048), 600),
    "scatter with a legend": lambda: plots.scatter(*cloud(60, LABELS[:12]), shares(9)),
    "scatter with names": lambda: plots.scatter(*cloud(400, LABELS), shares(9)),
    "scatter of one component": lambda: plots.scatter(*cloud(60, LABELS[:12], 1), shares(1)),
    "image grid": lambda: plots.image_grid([np.zeros((9, 7, 3), np.uint8)] * 7, LABELS[:7]),
    "stage seconds": lambda: plots.stage_seconds({"extract": 3.0, "fit": 1.0, "total": 4.0}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_a_figure_can_be_saved_and_is_neither_shown_nor_kept(make):
    image = picture(make())
    assert min(image.size) > 50
    assert len(np.unique(np.asarray(image.convert("L")))) > 2
    assert matplotlib.pyplot.get_fignums() == []


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_a_figure_leaves_the_settings_of_matplotlib_alone(make):
    before = dict(matplotlib.rcParams)
    picture(make())
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("d", "components"), [(1, 1), (3, 1), (3, 3), (40, 21), (2048, 600)])
def test_scree_marks_the_chosen_components_and_says_what_they_explain(d, components):
    figure = plots.scree(shares(d), components)
    kept = shares(d)[:components].sum()
    (said,) = texts(figure)
    assert said.startswith(f"{components} component")
    assert f"{kept:.1%} of the variance" in said
    for axes in figure.axes:
        marks = [line for line in axes.get_lines() if list(line.get_xdata()) == [components] * 2]
        assert len(marks) == 1
        left, right = axes.get_xlim()
        assert left < 1 <= components < right


def test_scree_says_one_component_in_the_singular():
    assert texts(plots.scree(np.array([0.8, 0.15, 0.05]), 1)) == [
        "1 component explains 80.0% of the variance"
    ]


def test_scree_has_a_bar_for_each_of_a_few_components():
    lower = plots.scree(np.array([0.8, 0.15, 0.05]), 1).axes[1]
    assert [bar.get_height() for bar in lower.patches] == pytest.approx([0.8, 0.15, 0.05])
    kept, *others = [to_hex(bar.get_facecolor()) for bar in lower.patches]
    assert kept not in others
    assert len(set(others)) == 1


def test_scree_draws_the_cumulative_share():
    line = plots.scree(np.array([0.8, 0.15, 0.05]), 1).axes[0].get_lines()[0]
    assert list(line.get_xdata()) == [1, 2, 3]
    assert line.get_ydata() == pytest.approx([0.8, 0.95, 1.0])


def test_scree_of_many_components_shows_the_chosen_ones_and_some_more():
    upper, lower = plots.scree(shares(2048), 600).axes
    assert 600 < upper.get_xlim()[1] < 1024
    assert len(lower.patches) == 2
    assert lower.get_yscale() == "log"


def test_scree_leaves_out_components_without_variance():
    variance = np.concatenate([shares(8), np.zeros(1272)])
    assert plots.scree(variance, 5).axes[0].get_xlim()[1] == pytest.approx(8.7)


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
    assert {"$a_b", "_hidden", "two lines", "x" * 31 + "…"} == set(shown)


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


def test_stage_seconds_has_a_bar_for_each_stage_and_the_total_in_its_title():
    figure = plots.stage_seconds({"session": 4.0, "extract": 1234.5, "total": 1240.0})
    picture(figure)
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["session", "extract"]
    assert [bar.get_width() for bar in axes.patches] == [4.0, 1234.5]
    assert [text.get_text() for text in axes.texts] == ["4.0", "1,234.5"]
    assert "1,240.0 in total" in axes.get_title()
    assert axes.yaxis_inverted()  # the first stage is on top
