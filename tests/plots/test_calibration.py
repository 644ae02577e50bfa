"""Reliability diagrams."""

from itertools import pairwise

import numpy as np
import pytest
from evaluations import evaluated, guesses
from figures import legend, picture
from sklearn.calibration import calibration_curve

from fruits import plots
from fruits.classify.evaluate import BINS

NAMES = ["Apple", "Fig", "Kiwi", "Lemon"]


def test_points_are_those_of_scikit_learn():
    truth, chances = guesses(len(NAMES), 900)
    right = chances.argmax(axis=1) == truth
    accuracy, confidence = calibration_curve(right, chances.max(axis=1), n_bins=BINS)
    upper = plots.calibration([evaluated(NAMES, 900)]).axes[0]
    _, points = [line for line in upper.get_lines() if len(line.get_xdata()) > 1]
    np.testing.assert_allclose(points.get_xdata(), confidence)
    np.testing.assert_allclose(points.get_ydata(), accuracy)


def test_the_title_says_what_the_vertical_lines_are_and_no_point_is_cut_off():
    upper = plots.calibration([evaluated(NAMES, 900)]).axes[0]
    assert upper.get_title().endswith("by confidence,\nwith 95% intervals")
    low, high = upper.get_ylim()
    assert low < 0
    assert high > 1


def test_each_scheme_is_named_with_its_images_and_its_error():
    both = [evaluated(NAMES, 1200), evaluated(NAMES, 300, "grouped cross-validation", 1)]
    figure = plots.calibration(both)
    picture(figure)
    assert legend(figure)[1:] == [
        f"split: 1,200 images, ECE {both[0].calibration_error:.3f}",
        f"grouped cross-validation: 300 images, ECE {both[1].calibration_error:.3f}",
    ]


def test_the_bars_below_have_every_image_once():
    both = [evaluated(NAMES, 1200), evaluated(NAMES, 300, "grouped cross-validation", 1)]
    lower = plots.calibration(both).axes[1]
    heights = [[bar.get_height() for bar in group] for group in lower.containers]
    assert [sum(own) for own in heights] == [1200, 300]
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in lower.patches)
    for (_, right), (left, _) in pairwise(edges):
        assert right <= left + 1e-9  # bars do not hide each other


@pytest.mark.parametrize("images", [1, 5])
def test_a_few_images_have_wide_intervals(images):
    evaluation = evaluated(NAMES, images)
    upper = plots.calibration([evaluation]).axes[0]
    (bars,) = upper.containers[0].lines[2]
    spans = [segment[:, 1] for segment in bars.get_segments()]
    assert max(high - low for low, high in spans) > 0.3
    assert all(low >= -1e-9 and high <= 1 + 1e-9 for low, high in spans)
