"""The share of the variance that each component explains."""

import numpy as np
import pytest
from figures import shares, texts
from matplotlib.colors import to_hex

from fruits import plots


@pytest.mark.parametrize(("d", "components"), [(1, 1), (3, 1), (3, 3), (40, 21), (2048, 600)])
def test_scree_marks_the_chosen_components_and_their_share(d, components):
    figure = plots.scree(shares(d), components)
    kept = shares(d)[:components].sum()
    (note,) = texts(figure)
    assert note.startswith(f"{components} component")
    assert f"{kept:.1%} of the variance" in note
    for axes in figure.axes:
        marks = [line for line in axes.get_lines() if list(line.get_xdata()) == [components] * 2]
        assert len(marks) == 1
        left, right = axes.get_xlim()
        assert left < 1 <= components < right


def test_scree_names_the_sum_of_shares_cumulative():
    upper = plots.scree(np.array([0.8, 0.15, 0.05]), 1).axes[0]
    assert upper.get_ylabel() == "cumulative share of the variance"


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
