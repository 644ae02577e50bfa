"""Converts tables of photographs to tables of their boxes and back, part by part."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from fruits.sources.boxes import photographs_of, with_boxes
from fruits.sources.listing import IDENTITY, LISTING
from fruits.sources.parts import Parts, Read


def photographs_in(rows: Parts) -> Parts:
    """The photographs that boxes belong to, each once.

    Args:
        rows: Boxes, with the columns :data:`fruits.sources.listing.IDENTITY`.
    """
    schema = pa.schema([LISTING.field(name) for name in IDENTITY])
    return _counted(schema, rows.bounds, [partial(_photographs, read) for read in rows.reads])


def boxes_in(files: Parts, rows: Parts) -> Parts:
    """One row for each box of the photographs: see :func:`fruits.sources.boxes.with_boxes`.

    Args:
        files: The photographs.
        rows: Boxes of these and other photographs, in parts with the same bounds.
    """
    both = zip(files.reads, rows.reads, strict=True)
    return _counted(files.schema, files.bounds, [partial(_boxes, *reads) for reads in both])


def _counted(schema: pa.Schema, bounds: tuple[str, ...], reads: list[Read]) -> Parts:
    return Parts(schema, bounds, [read().num_rows for read in reads], reads)


def _photographs(rows: Read) -> pa.Table:
    return photographs_of(rows())


def _boxes(files: Read, rows: Read) -> pa.Table:
    return with_boxes(files(), rows())
