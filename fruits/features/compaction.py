"""Joins small chunks and small files of features, so that many growths do not slow the next one.

Chunks are sorted into tiers by their size, as a log-structured merge tree sorts its runs (O'Neil,
Cheng, Gawlick and O'Neil, "The log-structured merge-tree", Acta Informatica 33, 1996). Where a tier
has many, they become one chunk of a higher tier, so the number of chunks grows as the logarithm of
the number of commits. Small files of the lowest tier become larger ones; of higher tiers, only the
manifests and the moments are joined. Rows and moments keep their bits.
"""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from fruits.features.moments_file import merge_files
from fruits.features.rows import FEATURES, read_rows, write_rows
from fruits.features.table import FOLDER, THUMBNAILS, THUMBNAILS_FOLDER, Chunk
from fruits.features.writer import STAGED, FeatureWriter
from fruits.storage.files import paths_in
from fruits.storage.location import Location

MOST_SMALL = 8
"""Chunks of the lowest tier that are joined."""

MOST_CHUNKS = 32
"""Chunks of another tier that are joined: where labels change, the moments of a whole chunk are
measured again."""

SMALL_CHUNK = 16 * 2**20
"""Bytes below which a chunk is of the lowest tier; each further tier is :data:`MOST_CHUNKS` x."""

FILE_BYTES = 32 * 2**20
"""Bytes up to which small files become one."""


@dataclass(frozen=True)
class Compaction:
    """Chunks that become one.

    Attributes:
        chunks: that are replaced.
        kept: names of the files that stay as they are.
        joins: the files that become one file each: its name, and the names of its parts.
        moments: what becomes one file of moments each: its staged URI, and the URIs of its parts.
    """

    chunks: list[Chunk]
    kept: list[str]
    joins: list[tuple[str, list[str]]]
    moments: list[tuple[str, list[str]]]


def plan_compaction(writer: FeatureWriter) -> Compaction | None:
    """Which chunks of a table to join; None where no tier has too many."""
    chunks = writer.chunks()
    if len(chunks) < MOST_SMALL:
        return None
    sizes = file_sizes(writer.root)
    tiers: defaultdict[int, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        tiers[_tier(sum(sizes[name] for name in chunk.files))].append(chunk)
    many = {tier for tier in tiers if len(tiers[tier]) >= (MOST_CHUNKS if tier else MOST_SMALL)}
    if not many:
        return None
    joined = tiers[min(many)]
    names = [name for chunk in joined for name in chunk.files]
    groups = [[name] for name in names] if min(many) else _groups(names, sizes)
    kept = [group[0] for group in groups if len(group) == 1]
    joins = [(f"{uuid.uuid4().hex}.parquet", group) for group in groups if len(group) > 1]
    return Compaction(joined, kept, joins, _moments(writer, joined))


def join_files(folder: str, join: tuple[str, list[str]]) -> None:
    """Stages the rows of some files as one file, and writes their thumbnails as one.

    Args:
        folder: URI of the features.
        join: the name of the file, and the names of its parts.
    """
    name, parts = join
    root = Location.of(folder)
    pictures = [place for part in parts if _exists(place := root / THUMBNAILS_FOLDER / part)]
    if pictures:
        write_rows(root / THUMBNAILS_FOLDER / name, _together(pictures, THUMBNAILS))
    write_rows(root / STAGED / name, _together([root / part for part in parts], FEATURES))


def join_moments(join: tuple[str, list[str]]) -> None:
    """Stages the moments of some chunks as those of one; damaged ones are measured again later."""
    target, parts = join
    try:
        merge_files(parts, target)
    except ValueError:
        return


def commit_compaction(writer: FeatureWriter, compaction: Compaction) -> Chunk:
    """Puts the joined chunk in the place of its parts; what it is made of must be staged.

    The manifest names the chunks that it replaces: whenever this is interrupted, each row counts
    once, and the next run deletes the rest.
    """
    files = [*compaction.kept, *(name for name, _ in compaction.joins)]
    chunk = writer.replace_chunks(compaction.chunks, files, [name for name, _ in compaction.joins])
    # After the manifest: without it, they would count for the next chunk that gets its number.
    for staged, _ in compaction.moments:
        place = Location.of(staged)
        if _exists(place):
            suffix = staged.rpartition("/")[2].partition(".")[2]
            target = Location.of(writer.side_file(chunk.number, suffix))
            place.filesystem.mv(place.path, target.path)
    writer.sweep()
    return chunk


def _moments(writer: FeatureWriter, chunks: Sequence[Chunk]) -> list[tuple[str, list[str]]]:
    """The moments that all of some chunks have, by what is behind the number in their names."""
    there = {path.rpartition("/")[2] for path in paths_in(writer.root / FOLDER)}
    filled = [chunk for chunk in chunks if chunk.files]
    suffixes = {name.partition(".")[2] for name in there if name.endswith(".moments")}
    found = []
    for suffix in sorted(suffixes):
        names = [f"{chunk.number:06}.{suffix}" for chunk in filled]
        if there.issuperset(names):
            parts = [f"{writer.uri}/{FOLDER}/{name}" for name in names]
            found.append((f"{writer.staged}/joined.{suffix}", parts))
    return found


def _groups(names: Sequence[str], sizes: dict[str, int]) -> list[list[str]]:
    """Files that follow each other, in groups of about :data:`FILE_BYTES`."""
    groups: list[list[str]] = []
    filled = 0
    for name in names:
        if not groups or filled + sizes[name] > FILE_BYTES:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += sizes[name]
    return groups


def _tier(size: int) -> int:
    return 0 if size < SMALL_CHUNK else 1 + int(math.log(size / SMALL_CHUNK, MOST_CHUNKS))


def file_sizes(folder: Location) -> dict[str, int]:
    """Bytes of the files in a folder, by name."""
    found = folder.filesystem.ls(folder.path, detail=True)
    return {one["name"].rpartition("/")[2]: one["size"] or 0 for one in found}


def _together(places: Sequence[Location], schema: pa.Schema) -> pa.Table:
    tables = [read_rows(place, schema.names).cast(schema) for place in places]
    return pa.concat_tables(tables)


def _exists(place: Location) -> bool:
    return bool(place.filesystem.exists(place.path))
