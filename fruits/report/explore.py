"""The map in a notebook: a table of the images with coordinates, and a scatter plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fruits.errors import ConfigError
from fruits.report.data import Plane
from fruits.report.thumbnails import data_uri

if TYPE_CHECKING:
    import pandas as pd

PICTURE = "picture"

COLOURS = 256
"""The most categories that a plot of jupyter-scatter colours; with more, it cannot be made."""

_COLOURED = "colour"
"""The column of categories in which all but the most frequent ones are :data:`OTHERS`."""

OTHERS = "others"

_MISSING = {"label": "no label", "split": "no split", "predicted": "no prediction"}
"""The columns that a plot colours by category, and their texts for missing values."""


def map_frame(
    images: pa.Table, planes: Sequence[Plane], thumbnails: Mapping[str, bytes]
) -> pd.DataFrame:
    """A table with a row for each image.

    Args:
        images: The n images, rows of :data:`fruits.report.data.IMAGES`.
        planes: The planes of these images.
        thumbnails: The JPEG files of thumbnails, by path.

    Returns:
        The columns of the images; two coordinates for each plane, named like the axes, such as
        ``PC1``; and ``picture``, the thumbnail as a data URI, or "".
    """
    frame: pd.DataFrame = images.to_pandas()
    for plane in planes:
        for number, title in enumerate(plane.titles):
            frame[title.partition(" (")[0]] = plane.points[:, number]
    found = (thumbnails.get(path) for path in frame["path"])
    frame[PICTURE] = [data_uri(picture) if picture else "" for picture in found]
    return frame


def scatter_map(frame: pd.DataFrame, x: str, y: str, color_by: str | None = "label") -> Any:
    """A scatter plot with a lasso, in which a point shows its photograph.

    Args:
        frame: The table of :func:`map_frame`.
        x: The column of the x axis.
        y: The column of the y axis.
        color_by: The column for the colours; None for one colour. If it has more than
            :data:`COLOURS` categories, the most frequent ones have a colour, and the others share
            one.

    Returns:
        A ``jscatter.Scatter``: ``show()`` displays it, ``selection()`` returns the selected rows.

    Raises:
        ConfigError: jupyter-scatter is not installed.
    """
    try:
        from jscatter import Scatter
    except ImportError:
        raise ConfigError(
            "map: wanted the package jupyter-scatter: "
            "pip install '.[notebook]' in the project's folder"
        ) from None
    texts = frame.assign(
        **{
            name: frame[name].fillna(missing).astype("category")
            for name, missing in _MISSING.items()
            if name in frame
        }
    )
    if color_by in texts and _categories(texts[color_by]) > COLOURS:
        texts, color_by = texts.assign(**{_COLOURED: _most_frequent(texts[color_by])}), _COLOURED
    scatter = Scatter(data=texts, x=x, y=y, height=560, **_colours(texts, color_by))
    shown = [name for name in ("label", "split", "predicted", "confidence") if name in frame]
    scatter.tooltip(True, properties=shown, preview=PICTURE, preview_type="image")
    return scatter


def chosen(scatter: Any) -> pd.DataFrame:
    """The rows of a plot of :func:`scatter_map` that the lasso has selected, without pictures."""
    # scatter.data() returns the plot (jupyter-scatter 1.0.1); the widget has the table.
    frame: pd.DataFrame = scatter.widget.data
    rows: pd.DataFrame = frame.iloc[scatter.selection()].drop(
        columns=[PICTURE, _COLOURED], errors="ignore"
    )
    return rows


def _colours(frame: pd.DataFrame, column: str | None) -> dict[str, Any]:
    return {"color_by": column} if column and column in frame else {}


def _categories(column: pd.Series) -> int:
    """The number of categories of a column; 0 for numbers."""
    return len(column.cat.categories) if column.dtype == "category" else 0


def _most_frequent(column: pd.Series) -> pd.Series:
    """The column with :data:`OTHERS` in place of all but the most frequent categories."""
    frequent = column.value_counts().index[: COLOURS - 1]
    texts: pd.Series = column.astype(object).where(column.isin(frequent), OTHERS)
    return texts.astype("category")
