"""Photographs and their boxes in the tables that a run compares, part by part."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from fruits.sources.boxes import photographs_of, with_boxes
from fruits.sources.listing import IDENTITY, LISTING
from fruits.sources.parts import Parts, Read


def photographs_in(rows: Parts) -> Parts:
    """The photographs of boxes, each once.

    Args:
        rows: with the columns :data:`fruits.sources.listing.IDENTITY`.
    """
    schema = pa.schema([LISTING.field(name) for name in IDENTITY])
    return _counted(schema, rows.bounds, [partial(_photographs, read) for read in rows.reads])


def boxes_in(files: Parts, rows: Parts) -> Parts:
    """The photographs, once for each of their boxes: see :func:`fruits.sources.boxes.with_boxes`.

    Args:
        files: the photographs.
        rows: boxes of them, and of others; with the same bounds.
    """
    both = zip(files.reads, rows.reads, strict=True)
    return _counted(files.schema, files.bounds, [partial(_boxes, *reads) for reads in both])


def _counted(schema: pa.Schema, bounds: tuple[str, ...], reads: list[Read]) -> Parts:
    return Parts(schema, bounds, [read().num_rows for read in reads], reads)


def _photographs(rows: Read) -> pa.Table:
    return photographs_of(rows())


def _boxes(files: Read, rows: Read) -> pa.Table:
    return with_boxes(files(), rows())
