"""What is committed, as far as a run compares it with its images: in parts where it is long."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import SparkFiles
from pyspark.sql import SparkSession

from fruits.features.compaction import file_sizes
from fruits.features.digests import DigestFile, Digests, write_digests
from fruits.features.table import FeatureTable
from fruits.features.writer import FeatureWriter
from fruits.sources import parts
from fruits.sources.listing import LISTING
from fruits.sources.parts import Parts
from fruits.sources.spread import Spread
from fruits.spark import measure
from fruits.storage.files import delete

KNOWN = LISTING.append(pa.field("digest", pa.binary())).append(pa.field("file", pa.string()))
"""The columns of :func:`fruits.spark.measure.known`, as they are kept on disk."""

_MOST_FILES = 1024
"""Files that one job reads."""


def known_parts(spark: SparkSession, table: FeatureTable, bounds: Sequence[str]) -> Parts:
    """What :func:`fruits.spark.measure.known` returns, in the parts of a listing.

    Args:
        spark: the session.
        table: the features.
        bounds: of the listing; where it has none, all rows are in memory.
    """
    if not bounds:
        return Parts.of(measure.known(spark, table))
    spread = Spread(KNOWN, bounds)
    for files in _groups(table):
        spread.add(measure.known(spark, table, files).select(KNOWN.names).cast(KNOWN))
    return spread.parts()


@contextmanager
def known_digests(store: FeatureWriter, known: Parts) -> Iterator[Digests | DigestFile]:
    """The contents of which there are features; many of them are in a staged file.

    Args:
        store: of the features.
        known: from :func:`known_parts`.
    """
    if known.num_rows <= parts.IN_MEMORY:
        yield Digests.of(known)
        return
    uri = f"{store.staged}/{uuid.uuid4().hex}.digests"
    # Spark deletes the folder at the end of the application, on each machine.
    yield write_digests(known, uri, SparkFiles.getRootDirectory)
    delete(uri)


def _groups(table: FeatureTable) -> Iterator[list[str]]:
    """URIs of committed files, in groups of some hundred thousand rows."""
    names = [name for chunk in table.chunks() for name in chunk.files]
    sizes = file_sizes(table.root)
    most = _bytes_of_rows(table, names[0], sizes) if names else 0
    group: list[str] = []
    filled = 0
    for name in names:
        if group and (len(group) == _MOST_FILES or filled + sizes[name] > most):
            yield group
            group, filled = [], 0
        group.append(f"{table.uri}/{name}")
        filled += sizes[name]
    if group:
        yield group


def _bytes_of_rows(table: FeatureTable, name: str, sizes: dict[str, int]) -> int:
    """Bytes of the files that have as many rows as a part, by what a row of one file takes."""
    place = table.root / name
    with place.filesystem.open(place.path, "rb") as file:
        rows: int = pq.read_metadata(file).num_rows
    return parts.PART_ROWS * sizes[name] // max(rows, 1)
