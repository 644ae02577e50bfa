"""Joins small chunks and small files of features, so that later commits stay fast.

Chunks are sorted into tiers by their size, as a log-structured merge tree sorts its runs (O'Neil,
Cheng, Gawlick and O'Neil, "The log-structured merge-tree", Acta Informatica 33, 1996). If a tier
has many chunks, groups of them become one chunk each of a higher tier, so the number of chunks
grows with the logarithm of the number of commits. In the lowest tier, small files become larger
ones; in higher tiers, only the manifests and the moments are joined. The bits of rows and moments
do not change.
"""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from fruits.features.file_groups import file_sizes, group_files
from fruits.features.rows import FEATURES, read_rows, write_rows
from fruits.features.table import CHUNKS_FOLDER, THUMBNAILS, THUMBNAILS_FOLDER, Chunk
from fruits.features.writer import STAGED, FeatureWriter
from fruits.storage.files import paths_in
from fruits.storage.location import Location

MOST_SMALL = 8
"""The number of chunks of the lowest tier that are joined."""

MOST_CHUNKS = 32
"""The number of chunks of another tier that are joined. More would make chunks too large: if a
label changes, the moments of the whole chunk are measured again."""

SMALL_CHUNK = 16 * 2**20
"""A chunk with fewer bytes is in the lowest tier; each next tier is `MOST_CHUNKS` times larger."""

FILE_BYTES = 32 * 2**20
"""Small files are joined up to this many bytes."""


@dataclass(frozen=True)
class Compaction:
    """Chunks to join into one.

    Attributes:
        chunks: The chunks to replace.
        kept: The names of the files that do not change.
        joins: For each joined file, its name and the names of its parts.
        moments: For each joined file of moments, its parts and its staged location.
    """

    chunks: list[Chunk]
    kept: list[str]
    joins: list[tuple[str, list[str]]]
    moments: list[tuple[list[Location], Location]]


def plan_compactions(writer: FeatureWriter) -> list[Compaction]:
    """Chooses groups of chunks of a table to join; none if no tier has too many."""
    chunks = writer.chunks()
    if len(chunks) < MOST_SMALL:
        return []
    sizes = file_sizes(writer.root)
    tiers: defaultdict[int, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        tiers[_tier(sum(sizes[name] for name in chunk.files))].append(chunk)
    there = {path.rpartition("/")[2] for path in paths_in(writer.root / CHUNKS_FOLDER)}
    found = []
    for tier, own in sorted(tiers.items()):
        most = MOST_CHUNKS if tier else MOST_SMALL
        # A first run may make a thousand chunks of a tier, which must not become a single one.
        for start in range(0, len(own) - most + 1, most):
            joined = own[start : start + most]
            names = [name for chunk in joined for name in chunk.files]
            groups = [[name] for name in names] if tier else group_files(names, sizes, FILE_BYTES)
            kept = [group[0] for group in groups if len(group) == 1]
            joins = [(f"{uuid.uuid4().hex}.parquet", group) for group in groups if len(group) > 1]
            found.append(Compaction(joined, kept, joins, _moments(writer, joined, there)))
    return found


def join_files(root: Location, join: tuple[str, list[str]]) -> None:
    """Stages the rows of some files as one file, and writes their thumbnails as one.

    Args:
        root: the folder ``features``.
        join: the name of the file, and the names of its parts.
    """
    name, parts = join
    pictures = [place for part in parts if _exists(place := root / THUMBNAILS_FOLDER / part)]
    if pictures:
        write_rows(root / THUMBNAILS_FOLDER / name, _together(pictures, THUMBNAILS))
    write_rows(root / STAGED / name, _together([root / part for part in parts], FEATURES))


def commit_compaction(writer: FeatureWriter, compaction: Compaction) -> Chunk:
    """Replaces the parts by the joined chunk, whose files must be staged.

    The manifest names the chunks that it replaces. So if this is interrupted, each row still counts
    once. :meth:`FeatureWriter.delete_replaced` deletes the parts.
    """
    joined = [name for name, _ in compaction.joins]
    moments = [staged for _, staged in compaction.moments]
    return writer.replace_chunks(compaction.chunks, compaction.kept + joined, joined, moments)


def _moments(
    writer: FeatureWriter, chunks: Sequence[Chunk], there: set[str]
) -> list[tuple[list[Location], Location]]:
    """The kinds of moments that all chunks have: their parts, and their staged location.

    Args:
        writer: the features.
        chunks: the chunks.
        there: the names of the files next to the manifests.
    """
    filled = [chunk for chunk in chunks if chunk.files]
    suffixes = {name.partition(".")[2] for name in there if name.endswith(".moments")}
    found = []
    for suffix in sorted(suffixes):
        names = [f"{chunk.number:06}.{suffix}" for chunk in filled]
        if there.issuperset(names):
            parts = [writer.root / CHUNKS_FOLDER / name for name in names]
            found.append((parts, writer.staged / f"{uuid.uuid4().hex}.{suffix}"))
    return found


def _tier(size: int) -> int:
    return 0 if size < SMALL_CHUNK else 1 + int(math.log(size / SMALL_CHUNK, MOST_CHUNKS))


def _together(places: Sequence[Location], schema: pa.Schema) -> pa.Table:
    tables = [read_rows(place, schema.names).cast(schema) for place in places]
    return pa.concat_tables(tables)


def _exists(place: Location) -> bool:
    return bool(place.filesystem.exists(place.path))
