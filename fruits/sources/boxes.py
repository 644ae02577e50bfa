"""Paths of items that are a box (a part) of a photograph.

The path of a box is the path of its photograph followed by ``#xywh=left,top,width,height``, in
pixels of the upright photograph, as defined by W3C's Media Fragments URI 1.0.

    >>> fragment((10, 20, 110, 70))
    '#xywh=10,20,100,50'
    >>> box_of("file:/data/Fig/1.jpg#xywh=10,20,100,50")
    (10, 20, 110, 70)
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from fruits.images.crop import Box
from fruits.sources.listing import IDENTITY

_PREFIX = "#xywh="

_FRAGMENT = _PREFIX + "([0-9]+),([0-9]+),([0-9]+),([0-9]+)"


def fragment(box: Box) -> str:
    """The suffix of the path of a box."""
    left, top, right, bottom = box
    return f"{_PREFIX}{left},{top},{right - left},{bottom - top}"


def box_of(path: str) -> Box | None:
    """The box that a path names; None for a whole photograph."""
    # In Python, "$" also matches before a newline at the end; in Arrow, it does not.
    if not (found := re.search(_FRAGMENT + r"\Z", path)):
        return None
    left, top, width, height = map(int, found.groups())
    return left, top, left + width, top + height


def photographs(paths: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The paths of the photographs; paths of whole photographs are not changed."""
    if not pc.any(pc.match_substring(paths, _PREFIX)).as_py():
        return paths  # The expression needs four times as long.
    return pc.replace_substring_regex(paths, _FRAGMENT + "$", "")


def photographs_of(rows: pa.Table) -> pa.Table:
    """The photographs of boxes, without duplicates.

    Args:
        rows: a table with the columns :data:`fruits.sources.listing.IDENTITY`.
    """
    rows = rows.select(IDENTITY).set_column(0, "path", photographs(rows["path"]))
    return rows.group_by(IDENTITY, use_threads=False).aggregate([])


def with_boxes(files: pa.Table, rows: pa.Table) -> pa.Table:
    """Repeats the rows of photographs for each of their boxes.

    Args:
        files: a table of photographs with a column `path`, without duplicates.
        rows: a table of boxes with a column `path`.

    Returns:
        The rows of ``files``, one for each box, with the path of the box, sorted by path.
    """
    paths = pc.unique(rows["path"])
    place = pc.index_in(photographs(paths), files["path"].combine_chunks())
    there = pc.is_valid(place)
    found = files.take(place.filter(there))
    column = files.schema.get_field_index("path")
    return found.set_column(column, "path", paths.filter(there)).sort_by("path")
