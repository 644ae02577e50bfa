"""Items that are a part of a photograph: how their paths say which one.

The path of a box is that of its photograph with ``#xywh=left,top,width,height`` after it, in whole
pixels of the upright photograph, as W3C's Media Fragments URI 1.0 writes a part of a picture.

    >>> fragment((10, 20, 110, 70))
    '#xywh=10,20,100,50'
    >>> photograph_of("file:/data/Fig/1.jpg#xywh=10,20,100,50")
    'file:/data/Fig/1.jpg'
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from fruits.sources.crop import Box
from fruits.sources.listing import IDENTITY

_FRAGMENT = re.compile(r"#xywh=(\d+),(\d+),(\d+),(\d+)$")


def fragment(box: Box) -> str:
    """What comes after the path of the photograph."""
    left, top, right, bottom = box
    return f"#xywh={left},{top},{right - left},{bottom - top}"


def photograph_of(path: str) -> str:
    """The path of the photograph; a path of a whole photograph stays as it is."""
    return _FRAGMENT.sub("", path)


def box_of(path: str) -> Box | None:
    """The box that a path names; None for a whole photograph."""
    if not (found := _FRAGMENT.search(path)):
        return None
    left, top, width, height = map(int, found.groups())
    return left, top, left + width, top + height


def photographs(paths: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """:func:`photograph_of` for a column of strings."""
    return pc.replace_substring_regex(paths, _FRAGMENT.pattern, "")


def photographs_of(rows: pa.Table) -> pa.Table:
    """The photographs of boxes, each once.

    Args:
        rows: with the columns :data:`fruits.sources.listing.IDENTITY`.
    """
    rows = rows.select(IDENTITY).set_column(0, "path", photographs(rows["path"]))
    return rows.group_by(IDENTITY).aggregate([])


def with_boxes(files: pa.Table, rows: pa.Table) -> pa.Table:
    """The photographs, once for each of their boxes.

    Args:
        files: with `path`, each path once.
        rows: with `path`, those of boxes.

    Returns:
        The rows of ``files`` whose photographs have boxes, with the paths of these, in the order of
        their paths.
    """
    paths = pc.unique(rows["path"])
    place = pc.index_in(photographs(paths), files["path"].combine_chunks())
    there = pc.is_valid(place)
    found = files.take(place.filter(there))
    column = files.schema.get_field_index("path")
    return found.set_column(column, "path", paths.filter(there)).sort_by("path")
