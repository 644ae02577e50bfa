"""Images in the plane of two components, with few and with many labels."""

import numpy as np
import pytest
from figures import LABELS, cloud, legend, picture, shares, styles, texts
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from fruits import plots
from fruits.plots.multiples import PANELS
from fruits.plots.palette import COLOURS, find_groups
from fruits.plots.scatter import NAMED_LABELS

KINDS = [f"Apple {n}" for n in range(6)] + ["Cherry Red", "Cherry Wax", "Fig 1", "Kiwi 2"]
KINDS += ["Tomato 1", "Tomato 2"]


def colours(figure):
    """The colour of each label's points: red, green and blue."""
    lines = figure.axes[0].get_lines()
    return {line.get_label(): to_rgb(line.get_color()) for line in lines}


@pytest.mark.parametrize("count", [1, 12, 20])
def test_scatter_lists_few_labels_in_a_sorted_legend_next_to_the_axes(count):
    points, labels = cloud(100, LABELS[count - 1 :: -1])
    figure = plots.scatter(points, labels, shares(9))
    picture(figure)
    assert legend(figure) == LABELS[:count]
    assert texts(figure) == []
    beside = figure.legends[0].get_window_extent().x0
    assert beside >= figure.axes[0].get_window_extent().x1


def test_scatter_names_many_labels_at_their_centres_and_lists_their_groups():
    names = [f"{word} {number:02d}" for word in ("Apple", "Fig", "Kiwi") for number in range(10)]
    points, labels = cloud(300, names)
    figure = plots.scatter(points, labels, shares(9))
    assert legend(figure) == [f"{word} (10 labels)" for word in ("Apple", "Fig", "Kiwi")]
    named = {text.get_text(): text.xy for text in figure.axes[0].texts}
    assert sorted(named) == names
    centre = points[[label == names[7] for label in labels]].mean(axis=0)
    assert named[names[7]] == pytest.approx(centre, abs=1e-5)


@pytest.mark.slow
def test_scatter_names_do_not_overlap_and_stay_within_the_axes():
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
    assert len(texts(figure)) == NAMED_LABELS
    assert f"{NAMED_LABELS} most frequent labels are named" in figure.axes[0].get_title()


def test_scatter_names_labels_of_all_groups_where_all_are_equally_frequent():
    names = [f"{word} {number:02d}" for word in ("Apple", "Fig", "Kiwi") for number in range(90)]
    named = [text.split()[0] for text in texts(plots.scatter(*cloud(270, names), shares(9)))]
    assert {word: named.count(word) for word in ("Apple", "Fig", "Kiwi")} == {
        word: pytest.approx(NAMED_LABELS / 3, abs=1) for word in ("Apple", "Fig", "Kiwi")
    }


def test_scatter_gives_each_of_a_few_labels_its_own_style():
    apart = [f"{letter} 1" for letter in "ABCDEFGHIJKLMNOPQR"] + ["A 2"]
    for names in (LABELS[:10], LABELS[:20], KINDS, apart):
        assert len(styles(plots.scatter(*cloud(262, names), shares(9)).axes[0])) == len(names)


def test_scatter_has_one_hue_for_a_group():
    figure = plots.scatter(*cloud(300, KINDS), shares(9))
    drawn = colours(figure)
    for word in ("Apple", "Cherry"):
        red, green, blue = np.array([drawn[name] for name in KINDS if name.startswith(word)]).T
        assert len({(r > b, g > b, r > g) for r, g, b in zip(red, green, blue, strict=True)}) == 1
    apples, cherries = ({drawn[n] for n in KINDS if n.startswith(w)} for w in ("Apple", "Cherry"))
    assert len(apples) == 5  # the number of shades
    assert not apples & cherries


@pytest.mark.parametrize("count", [72, 131, 1000])
def test_scatter_of_many_groups_has_ten_colours_at_most_and_grey_for_the_rest(count):
    names = [f"Kind{number} a" for number in range(count)]
    figure = plots.scatter(*cloud(2 * count, names), shares(9))
    assert len(set(colours(figure).values())) == 9
    assert legend(figure)[-1] == f"others ({count - 8} labels)"


def test_scatter_gives_twenty_labels_ten_hues_twice():
    drawn = set(colours(plots.scatter(*cloud(262, LABELS[:20]), shares(9))).values())
    plain = {to_rgb(colour) for colour in COLOURS}
    assert plain < drawn
    assert {tuple(np.divide(colour, 0.65).round(6)) for colour in drawn - plain} == {
        tuple(np.round(colour, 6)) for colour in plain
    }


def test_scatter_draws_labels_with_many_images_first():
    labels = ["few"] * 3 + ["many"] * 50 + ["some"] * 9
    axes = plots.scatter(np.zeros((62, 2), np.float32), labels, shares(9)).axes[0]
    assert [len(line.get_xdata()) for line in axes.get_lines()] == [50, 9, 3]


def test_scatter_draws_all_images_of_very_many_labels_with_few_lines():
    names = [f"{word} {number:04d}" for word in ("Apple", "Fig") for number in range(600)]
    points, labels = cloud(1500, names)  # The first 300 labels have two images, the others one.
    figure = plots.scatter(points, labels, shares(9))
    lines = figure.axes[0].get_lines()
    assert len(lines) < 100
    label_of = dict(zip(map(tuple, points.tolist()), labels, strict=True))
    drawn = [[label_of[one] for one in zip(*line.get_data(), strict=True)] for line in lines]
    in_order = [label for line in drawn for label in line]
    assert sorted(in_order) == sorted(labels)
    # As with few labels, a line has one colour, and those with many images come first.
    assert all(len({label.split()[0] for label in line}) == 1 for line in drawn)
    assert {labels.count(label) for label in in_order[:600]} == {2}
    assert legend(figure) == ["Apple (600 labels)", "Fig (600 labels)"]


def test_scatter_takes_the_groups_that_it_is_given():
    groups = {name: "red" if "1" in name else "green" for name in LABELS[:30]}
    figure = plots.scatter(*cloud(300, LABELS[:30]), shares(9), groups)
    assert set(legend(figure)) == {"red (12 labels)", "green (18 labels)"}
    few = {name: "b" if name in KINDS[::2] else "a" for name in KINDS}
    ordered = legend(plots.scatter(*cloud(300, KINDS), shares(9), few))
    assert ordered == KINDS[1::2] + KINDS[::2]


def test_the_group_of_a_label_is_its_upper_folder_or_its_first_word():
    labels = ["Apple/Red 1", "Apple/Golden 2", "Fig/1", "Pear Red", "Pear_Green"]
    found = dict(find_groups(labels, np.arange(5, 0, -1)))
    assert found == {"Apple": [0, 1], "Fig": [2], "Pear": [3, 4]}
    alone = find_groups(["class 1", "class 2"], np.array([1, 1]))
    assert alone == [("class 1", [0]), ("class 2", [1])]


def test_scatter_shows_the_share_of_each_axis_and_the_counts():
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
    assert len(axes.get_lines()) == count
    for line in axes.get_lines():
        row = round(np.mean(line.get_ydata()))
        assert np.abs(line.get_ydata() - row).max() < 0.5
        assert line.get_xdata() == pytest.approx(points[row::count, 0])


@pytest.mark.parametrize("columns", [1, 2])
def test_scatter_takes_any_text_for_a_label(columns):
    odd = ["$a_b", "_hidden", "x" * 200, "two\nlines"]
    points, labels = cloud(8, odd, columns)
    figure = plots.scatter(points, labels, shares(9))
    picture(figure)
    axes = figure.axes[0]
    shown = legend(figure) if columns == 2 else [t.get_text() for t in axes.get_yticklabels()]
    assert {"$a_b", "_hidden", "two lines", "x" * 15 + "…" + "x" * 16} == set(shown)


def panels(figure):
    """The texts of the legend of each panel, by the title of the panel."""
    return [
        (axes.get_title(loc="left"), [text.get_text() for text in axes.get_legend().get_texts()])
        for axes in figure.axes
        if axes.get_legend()
    ]


def test_small_multiples_have_a_panel_for_a_group_and_one_for_small_groups():
    figure = plots.scatter_groups(*cloud(300, KINDS), shares(9))
    picture(figure)
    named = {title: sorted(names) for title, names in panels(figure)}
    assert named == {"Apple": KINDS[:6], "": KINDS[6:]}


def test_small_multiples_show_every_image_of_a_label_that_has_a_colour():
    points, labels = cloud(300, KINDS)
    figure = plots.scatter_groups(points, labels, shares(9))
    found = {
        line.get_label(): np.column_stack(line.get_data())
        for axes in figure.axes
        for line in axes.get_lines()
    }
    for name in KINDS:
        own = points[[label == name for label in labels]]
        np.testing.assert_array_equal(found[name], own)


def test_small_multiples_of_very_many_labels_say_what_they_leave_out():
    names = [f"Kind{number:03d} a" for number in range(300)]
    figure = plots.scatter_groups(*cloud(600, names), shares(9))
    assert len(panels(figure)) == PANELS
    assert figure.get_suptitle().endswith("; 60 labels with fewer images not shown")
    large = plots.scatter_groups(*cloud(600, LABELS[:30] + KINDS[:2]), shares(9))
    (_, shown), _ = panels(large)
    assert shown[-1] == "20 more labels"
    assert len(shown) == 11


@pytest.mark.parametrize("groups", [None, {"Fig": "b", "Kiwi": "a"}])
def test_images_without_a_label_are_grey_and_last_and_no_label_is_counted(groups):
    points, labels = cloud(120, ["Kiwi", None, "Fig"])
    figure = plots.scatter(points, labels, shares(9), groups)
    picture(figure)
    assert figure.axes[0].get_title() == "120 images, 2 labels"
    assert legend(figure)[-1] == "no label"
    assert sorted(legend(figure)) == ["Fig", "Kiwi", "no label"]
    red, green, blue = colours(figure)["no label"]
    assert max(red, green, blue) - min(red, green, blue) < 0.1


def test_images_without_a_label_are_a_group_beside_many_labels():
    points, labels = cloud(300, [*LABELS[:30], None])
    figure = plots.scatter(points, labels, shares(9))
    picture(figure)
    assert figure.axes[0].get_title() == "300 images, 30 labels"
    assert "no label" in legend(figure)
    assert "no label" not in texts(figure)


@pytest.mark.parametrize("columns", [1, 2])
def test_images_without_any_label_are_drawn(columns):
    points, _ = cloud(40, ["a"], columns)
    figure = plots.scatter(points, [None] * 40, shares(9))
    picture(figure)
    assert figure.axes[0].get_title() == "40 images, 0 labels"
    assert len(figure.axes[0].get_lines()) == 1


def test_small_multiples_show_images_without_a_label_only_behind():
    points, labels = cloud(300, [*KINDS, None])
    figure = plots.scatter_groups(points, labels, shares(9))
    picture(figure)
    assert figure.get_suptitle() == "300 images, 12 labels"
    assert sorted(name for _, shown in panels(figure) for name in shown) == sorted(KINDS)
    alone = plots.scatter_groups(points, [None] * 300, shares(9))
    picture(alone)
    assert [axes.get_title(loc="left") for axes in alone.axes] == ["no label"]
