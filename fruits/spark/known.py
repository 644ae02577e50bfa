"""Reads the committed rows that a run compares with its images, in parts if there are many."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import SparkFiles
from pyspark.sql import SparkSession

from fruits.features.digests import DigestFile, Digests, write_digests
from fruits.features.file_groups import file_sizes, group_files
from fruits.features.table import FeatureTable
from fruits.features.writer import FeatureWriter
from fruits.sources import parts
from fruits.sources.listing import LISTING
from fruits.sources.parts import Parts
from fruits.sources.spread import Spread
from fruits.spark import measure
from fruits.storage.files import delete
from fruits.storage.location import Location

KNOWN = LISTING.append(pa.field("digest", pa.binary())).append(pa.field("file", pa.string()))
"""The columns of :func:`fruits.spark.measure.known`, with the types of temporary files."""

_MOST_FILES = 1024
"""The maximum number of files that one job reads."""


def known_parts(spark: SparkSession, table: FeatureTable, bounds: Sequence[str]) -> Parts:
    """The rows of :func:`fruits.spark.measure.known`, in the same parts as a listing.

    Args:
        spark: The session.
        table: The features.
        bounds: The bounds of the listing's parts. Without bounds, all rows are in memory.
    """
    if not bounds:
        return Parts.of(measure.known(spark, table))
    spread = Spread(KNOWN, bounds)
    for files in _groups(table):
        spread.add(measure.known(spark, table, files).select(KNOWN.names).cast(KNOWN))
    return spread.parts()


@contextmanager
def known_digests(store: FeatureWriter, known: Parts) -> Iterator[Digests | DigestFile]:
    """The digests of contents with features; if there are many, they are in a staged file.

    Args:
        store: The features.
        known: The rows of :func:`known_parts`.
    """
    if known.num_rows <= parts.IN_MEMORY:
        yield Digests.of(known)
        return
    place = store.staged / f"{uuid.uuid4().hex}.digests"
    # Spark deletes the folder at the end of the application, on each machine.
    yield write_digests(known, place, SparkFiles.getRootDirectory)
    delete(place)


def _groups(table: FeatureTable) -> Iterator[list[Location]]:
    """The committed files, in groups of some hundred thousand rows."""
    names = [name for chunk in table.chunks() for name in chunk.files]
    if not names:
        return
    sizes = file_sizes(table.root)
    for group in group_files(names, sizes, _bytes_of_rows(table, names[0], sizes), _MOST_FILES):
        yield [table.root / name for name in group]


def _bytes_of_rows(table: FeatureTable, name: str, sizes: dict[str, int]) -> int:
    """The bytes of files with as many rows as a part, estimated from one file."""
    place = table.root / name
    with place.filesystem.open(place.path, "rb") as file:
        rows: int = pq.read_metadata(file).num_rows
    return parts.PART_ROWS * sizes[name] // max(rows, 1)
