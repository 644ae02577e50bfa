"""Arrays -> matplotlib figures. Nothing is shown or saved here, and pyplot is never touched."""

from fruits.plots.calibration import calibration
from fruits.plots.confusion import confusion
from fruits.plots.pictures import image_grid
from fruits.plots.scatter import LEGEND_LABELS, NAMED_LABELS, scatter
from fruits.plots.seconds import stage_seconds
from fruits.plots.variance import SEPARATE_BARS, scree

__all__ = [
    "LEGEND_LABELS",
    "NAMED_LABELS",
    "SEPARATE_BARS",
    "calibration",
    "confusion",
    "image_grid",
    "scatter",
    "scree",
    "stage_seconds",
]
