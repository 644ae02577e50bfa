"""Commits the rows of copies: files whose content already has features.

Copies are divided by the committed file that has their content, so that few tasks read the same
file. Each task writes one file of features. The driver has a limited number of copies in memory.
"""

import uuid
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.digest_keys import photograph_keys
from fruits.features.rows import FEATURES, REJECTED, read_rows, write_rows
from fruits.features.writer import FeatureWriter
from fruits.sources import parts
from fruits.sources.boxes import photographs
from fruits.sources.listing import LISTING
from fruits.sources.parts import Parts
from fruits.sources.spread import FileSpread
from fruits.storage.location import Location
from fruits.tasks.workers import Workers

COPIES = LISTING.append(pa.field("content", pa.string()))
"""The columns of copies: those of a listing, and the SHA-256 of the content."""

_DIGEST_LENGTH = 64
"""The number of hexadecimal digits of a SHA-256."""

ROWS_OF_A_FILE = 4096
"""The maximum number of copies in a file: 21 MB of features if each has 1,280."""

_FOUND = pa.schema([FEATURES.field(name) for name in ("sha256", "features")])

_PLACES = pa.schema([("key", pa.uint64()), ("file", pa.string())])

_PLACED = COPIES.append(pa.field("file", pa.string())).append(
    pa.field("files", pa.list_(pa.string()))
)


def with_contents(files: pa.Table, copies: dict[str, str]) -> pa.Table:
    """The copies among some files.

    Args:
        files: The files, a table of :data:`fruits.sources.listing.LISTING`.
        copies: The SHA-256 of files whose content has features, by path.

    Returns:
        A table of :data:`COPIES`.
    """
    chosen = files.filter(pc.is_in(files["path"], pa.array(list(copies), pa.string())))
    digests = pa.array([copies[path] for path in chosen["path"].to_pylist()], pa.string())
    return chosen.append_column("content", digests).select(COPIES.names).cast(COPIES)


def commit_copies(workers: Workers, store: FeatureWriter, copies: Parts, known: Parts) -> None:
    """Commits the rows of copies, with the features of their contents, in one commit.

    Args:
        workers: The workers. Each task writes the rows of at most :data:`ROWS_OF_A_FILE` copies, so
            the memory of workers does not depend on their number.
        store: The features.
        copies: The copies, at least one, rows of :data:`COPIES`.
        known: The rows of :func:`fruits.tasks.known.known_parts` of all contents of the copies.
    """
    spread = FileSpread(_PLACED, store.file_sizes(), copies.num_rows)
    for some in copies.chunks(parts.IN_MEMORY):
        spread.add(_placed(some, known))
    names: list[str] = []
    for part in spread.parts():
        jobs = []
        for rows, files in _divided(part):
            names.append(f"{uuid.uuid4().hex}.parquet")
            jobs.append((rows, store.staged / names[-1], [store.root / name for name in files]))
        workers.run(_write, jobs, f"extract: {part.num_rows:,} copies of known images")
    store.commit(names, REJECTED.empty_table())


def _placed(copies: pa.Table, known: Iterable[pa.Table]) -> pa.Table:
    """Adds ``files``, the committed files with the content's features, and ``file``, the first."""
    keys = pa.array(photograph_keys(copies["content"]))
    wanted = keys.unique()
    found = []
    for part in known:
        found.append(_places(part.filter(pc.is_in(part["key"], wanted))))
        wanted = wanted.filter(pc.invert(pc.is_in(wanted, found[-1]["key"])))
    places = pa.concat_tables(found).group_by("key", use_threads=False)
    places = places.aggregate([("file", "distinct")]).combine_chunks()
    files = places["file_distinct"].take(pc.index_in(keys, places["key"]))
    placed = copies.append_column("file", pc.list_element(files, 0))
    return placed.append_column("files", files)


def _places(rows: pa.Table) -> pa.Table:
    """For each content, the rows of one photograph that has it: one row, or one for each box."""
    # Many photographs may have the same content; this is the first of them.
    keys, paths = rows["key"], photographs(rows["path"])
    different = keys.unique()
    first = paths.take(pc.index_in(different, keys)).take(pc.index_in(keys, different))
    return rows.filter(pc.equal(paths, first)).select(_PLACES.names).cast(_PLACES)


def _divided(part: pa.Table) -> Iterator[tuple[pa.Table, list[str]]]:
    """Copies in tables of limited length, and the names of the files that have their contents.

    Copies whose content is in the same file are next to each other, in the order of the listing.
    """
    order = pc.sort_indices(part["file"])
    for start in range(0, part.num_rows, ROWS_OF_A_FILE):
        rows = part.take(order.slice(start, ROWS_OF_A_FILE))
        yield rows.select(COPIES.names), pc.list_flatten(rows["files"]).unique().to_pylist()


def _write(job: tuple[pa.Table, Location, list[Location]]) -> None:
    """Writes the rows of some copies, with features from some files."""
    named, target, files = job
    contents = pc.unique(named["content"])
    found = _FOUND.empty_table()
    for file in files:
        rows = read_rows(file, _FOUND.names).cast(_FOUND)
        own = pc.is_in(_content(rows["sha256"]), contents)
        # Many files may have the same content.
        new = pc.invert(pc.is_in(rows["sha256"], found["sha256"]))
        found = pa.concat_tables([found, rows.filter(pc.and_(own, new))])
    write_rows(target, _joined(named, found))


def _content(digests: pa.ChunkedArray) -> pa.ChunkedArray:
    """The SHA-256 of the photograph of each row; the digest of a box ends with the box."""
    return pc.utf8_slice_codeunits(digests, 0, _DIGEST_LENGTH)


def _joined(named: pa.Table, there: pa.Table) -> pa.Table:
    """The rows of copies, ordered by path: one for each, or one for each box of its content."""
    digests = there["sha256"]
    there = there.take(pc.index_in(digests.unique(), digests))
    numbers = pa.table({"content": named["content"], "copy": np.arange(named.num_rows)})
    contents = {"content": _content(there["sha256"]), "row": np.arange(there.num_rows)}
    both = numbers.join(pa.table(contents), "content", join_type="inner")
    rows, own = named.take(both["copy"]), there.take(both["row"])
    box = pc.utf8_slice_codeunits(own["sha256"], _DIGEST_LENGTH)
    columns = {name: rows[name] for name in LISTING.names}
    columns["path"] = pc.binary_join_element_wise(rows["path"], box, "")
    columns |= {"sha256": own["sha256"], "features": own["features"]}
    return pa.table(columns).select(FEATURES.names).cast(FEATURES).sort_by("path")
