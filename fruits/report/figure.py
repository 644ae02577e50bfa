"""The map as a Bokeh figure without points, which the page adds."""

from __future__ import annotations

import json
from dataclasses import dataclass

TARGET = "map-figure"
"""The id of the page's element for the figure."""


@dataclass(frozen=True)
class FigureParts:
    """The parts of the page that draw the figure.

    Attributes:
        library: The JavaScript of Bokeh.
        item: The figure in JSON, for ``Bokeh.embed.embed_item``.
    """

    library: str
    item: str


def map_figure() -> FigureParts:
    """Creates the figure, whose mouse events call ``window.fruitsMap``."""
    # This import takes a second. A run does it earlier, in the background.
    from bokeh.core.types import ID
    from bokeh.embed import json_item
    from bokeh.events import Tap
    from bokeh.models import (
        BoxSelectTool,
        BoxZoomTool,
        ColumnDataSource,
        CustomJS,
        HoverTool,
        LassoSelectTool,
        PanTool,
        Range1d,
        ResetTool,
        TapTool,
        WheelZoomTool,
    )
    from bokeh.plotting import figure
    from bokeh.resources import Resources

    source = ColumnDataSource(
        {name: [] for name in ("x", "y", "colour", "mark", "size")}, name="images"
    )
    lasso, wheel = LassoSelectTool(continuous=False), WheelZoomTool()
    plot = figure(
        name="map",
        height=600,
        sizing_mode="stretch_width",
        output_backend="webgl",
        x_range=Range1d(start=0, end=1),
        y_range=Range1d(start=0, end=1),
        x_axis_label=" ",
        y_axis_label=" ",
        tools=[lasso, BoxSelectTool(continuous=False), PanTool(), wheel, BoxZoomTool()],
        active_drag=lasso,
        active_scroll=None,
        toolbar_location="above",
    )
    points = plot.scatter(
        "x",
        "y",
        source=source,
        color="colour",
        marker="mark",
        size="size",
        name="points",
        alpha=0.75,
        line_color=None,
        nonselection_alpha=0.15,
        selection_alpha=0.95,
    )
    hover = CustomJS(code="window.fruitsMap.hover(cb_data)")
    plot.add_tools(
        HoverTool(renderers=[points], tooltips=None, callback=hover, visible=False),
        TapTool(renderers=[points]),
        ResetTool(),
    )
    chosen = CustomJS(code="window.fruitsMap.chosen(cb_obj.indices)")
    source.selected.js_on_change("indices", chosen)
    plot.js_on_event(Tap, CustomJS(code="window.fruitsMap.tapped(cb_obj.x, cb_obj.y)"))
    plot.toolbar.logo = None
    resources = Resources(mode="inline", components=["bokeh", "bokeh-gl"])
    # "<" could end the script element that contains this text.
    item = json.dumps(json_item(plot, ID(TARGET))).replace("<", "\\u003c")
    return FigureParts("\n".join(resources.js_raw), item)
