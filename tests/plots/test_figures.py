"""Common properties of all figures."""

import matplotlib.pyplot
import numpy as np
import pytest
from evaluations import evaluated
from figures import LABELS, cloud, picture, shares

from fruits import plots

DARK = np.zeros((9, 7, 3), np.uint8)

FIGURES = {
    "scree": lambda: plots.scree(shares(2048), 600),
    "scatter with a legend": lambda: plots.scatter(*cloud(60, LABELS[:12]), shares(9)),
    "scatter with names": lambda: plots.scatter(*cloud(400, LABELS), shares(9)),
    "scatter of one component": lambda: plots.scatter(*cloud(60, LABELS[:12], 1), shares(1)),
    "confusion": lambda: plots.confusion(evaluated(LABELS[:12], 300)),
    "calibration": lambda: plots.calibration([evaluated(LABELS[:12], 300)]),
    "small multiples": lambda: plots.scatter_groups(*cloud(60, LABELS[:12]), shares(9)),
    "pairs": lambda: plots.pairs([(DARK, DARK)] * 4, [("a", "b", 1)] * 4, "split"),
    "suspects": lambda: plots.suspects([DARK] * 2, ["a"] * 2, [0.1] * 2, ["b"] * 2),
    "image grid": lambda: plots.image_grid([DARK] * 7, LABELS[:7]),
    "stage seconds": lambda: plots.stage_seconds({"extract": 3.0, "fit": 1.0, "total": 4.0}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_a_figure_can_be_saved_and_is_neither_shown_nor_kept(make):
    image = picture(make())
    assert min(image.size) > 50
    assert len(np.unique(np.asarray(image.convert("L")))) > 2
    assert matplotlib.pyplot.get_fignums() == []


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_a_figure_does_not_change_the_settings_of_matplotlib(make):
    before = dict(matplotlib.rcParams)
    picture(make())
    assert dict(matplotlib.rcParams) == before
