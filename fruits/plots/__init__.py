"""Arrays -> matplotlib figures -> PNG. Nothing is shown here, and pyplot is not used."""

from fruits.plots.calibration import calibration
from fruits.plots.confusion import confusion
from fruits.plots.multiples import scatter_groups
from fruits.plots.pictures import image_grid, pairs, suspects
from fruits.plots.png import png
from fruits.plots.scatter import scatter
from fruits.plots.seconds import stage_seconds
from fruits.plots.tradeoff import tradeoff
from fruits.plots.variance import scree

__all__ = [
    "calibration",
    "confusion",
    "image_grid",
    "pairs",
    "png",
    "scatter",
    "scatter_groups",
    "scree",
    "stage_seconds",
    "suspects",
    "tradeoff",
]
