"""Accuracy and cost of networks."""

import numpy as np
from figures import picture, texts
from matplotlib.text import Text

from fruits import plots

NETWORKS = {
    "Fast": (0.006, 0.95),
    "Slow and worse": (0.030, 0.94),
    "Better": (0.032, 0.97),
    "Close": (0.033, 0.9702),
}


def test_tradeoff_has_a_point_and_a_name_for_each_network():
    figure = plots.tradeoff(NETWORKS, "Close")
    picture(figure)
    axes = figure.axes[0]
    line, *points = axes.get_lines()
    assert sorted(texts(figure)) == sorted(NETWORKS)
    shown = [(float(x), float(y)) for x, y in (one.get_xydata()[0] for one in points)]
    np.testing.assert_allclose(shown, [(1e3 * x, y) for x, y in NETWORKS.values()])
    assert [one.get_marker() for one in points] == ["o", "o", "o", "D"]
    # A network that is worse than another one in both is not on the line.
    np.testing.assert_allclose(line.get_xdata(), [6, 32, 33])


def test_names_in_tradeoff_do_not_overlap():
    crowd = {f"Network number {n}": (0.010 + n / 1e5, 0.9 + n / 1e5) for n in range(8)}
    figure = plots.tradeoff(crowd)
    picture(figure)
    # The lines from the names to the points are not included.
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    for number, box in enumerate(boxes):
        assert box.count_overlaps(boxes[:number]) == 0


def test_tradeoff_of_one_network_shows_no_accuracy_above_all():
    figure = plots.tradeoff({"One": (0.006, 1.0)}, "One")
    picture(figure)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert "100%" in labels
    assert not [one for one in labels if one and float(one.rstrip("%")) > 100]
