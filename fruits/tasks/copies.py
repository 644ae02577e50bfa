"""Collects files whose content already has features, and commits their rows.

The files are staged, and then divided into tables of limited length by the committed file that has
their content, so that few tasks read the same file. Each table becomes one file of features.
:mod:`fruits.spark.copies` does the same with a join in Spark.
"""

import uuid
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.digests import digest_starts
from fruits.features.rows import FEATURES, REJECTED, read_rows, write_rows
from fruits.features.writer import FeatureWriter
from fruits.sources.listing import LISTING
from fruits.storage.files import delete_files
from fruits.storage.location import Location
from fruits.tasks.workers import Workers

DIGEST_LENGTH = 64
"""The number of hexadecimal digits of a SHA-256."""

ROWS_OF_A_FILE = 4096
"""The maximum number of copies in a file: 21 MB of features if each has 1,280."""

_FOUND = pa.schema([FEATURES.field(name) for name in ("sha256", "features")])


class Copies:
    """Files that are copies of known contents, in staged Parquet files.

    The files have the columns of :data:`fruits.sources.listing.LISTING`, and ``content``, the
    SHA-256 of the content.

    Args:
        store: The features.

    Attributes:
        count: The number of copies.
        staged: The staged files.
    """

    def __init__(self, store: FeatureWriter) -> None:
        self.count = 0
        self.staged: list[Location] = []
        self._store = store

    def add(self, files: pa.Table, copies: dict[str, str]) -> None:
        """Adds copies.

        Args:
            files: The files of a chunk, a table of :data:`fruits.sources.listing.LISTING`.
            copies: The SHA-256 of files whose content has features, by path.
        """
        if not copies:
            return
        chosen = files.filter(pc.is_in(files["path"], pa.array(list(copies)))).select(LISTING.names)
        digests = pa.array([copies[path] for path in chosen["path"].to_pylist()])
        chosen = chosen.append_column("content", digests)
        for start in range(0, chosen.num_rows, ROWS_OF_A_FILE):
            file = self._store.staged / f"{uuid.uuid4().hex}.parquet"
            write_rows(file, chosen.slice(start, ROWS_OF_A_FILE))
            self.staged.append(file)
        self.count += chosen.num_rows


def commit_copies(
    workers: Workers, store: FeatureWriter, copies: Copies, known: Sequence[pa.Table]
) -> None:
    """Commits the rows of copies, with the features of their contents.

    Args:
        workers: The workers. Each task writes the rows of at most :data:`ROWS_OF_A_FILE` copies, so
            the memory of workers does not depend on their number.
        store: The features.
        copies: The copies, at least one.
        known: Tables with the columns ``digest`` and ``file`` of all committed rows, from
            :func:`fruits.tasks.known.known_parts`.
    """
    columns = [*LISTING.names, "content"]
    named = pa.concat_tables([read_rows(file, columns) for file in copies.staged])
    names, jobs = [], []
    for part, files in _divided(named, known):
        names.append(f"{uuid.uuid4().hex}.parquet")
        jobs.append((part, store.staged / names[-1], [store.root / name for name in files]))
    workers.run(_write, jobs, f"extract: {copies.count:,} copies of known images")
    store.commit(names, REJECTED.empty_table())
    delete_files(store.root, [file.path for file in copies.staged])


def _divided(named: pa.Table, known: Sequence[pa.Table]) -> Iterator[tuple[pa.Table, list[str]]]:
    """Copies in tables of limited length, and the names of the files that may have their contents.

    Copies whose content is in the same file are next to each other, in the order of the listing.
    The files that suffice for contents without boxes come first.
    """
    starts = digest_starts(named["content"])
    wanted = starts.unique()
    own = [table.filter(pc.is_in(table["digest"], wanted)) for table in known]
    digests = [table["digest"].cast(pa.binary()) for table in own]
    files = [table["file"].cast(pa.string()) for table in own]
    places = pa.concat_tables(
        [pa.table({"digest": one, "file": name}) for one, name in zip(digests, files, strict=True)]
    )
    places = places.sort_by([("file", "ascending"), ("digest", "ascending")]).combine_chunks()
    # Many files may have the same content; this is the first of them.
    first = pc.index_in(starts, places["digest"].combine_chunks())
    numbers = pc.rank(places["file"], tiebreaker="min").take(first)
    order = np.argsort(numbers.fill_null(0).to_numpy(), kind="stable")
    for start in range(0, len(order), ROWS_OF_A_FILE):
        rows = order[start : start + ROWS_OF_A_FILE]
        there = pc.is_in(places["digest"], starts.take(pa.array(rows)))
        enough = places["file"].take(first.take(pa.array(rows)).drop_null()).unique().sort()
        others = places["file"].filter(there).unique()
        yield named.take(rows), [*dict.fromkeys(enough.to_pylist() + others.to_pylist())]


def _write(job: tuple[pa.Table, Location, list[Location]]) -> None:
    """Writes the rows of some copies, with features from some files."""
    named, target, files = job
    contents = pc.unique(named["content"])
    found = _FOUND.empty_table()
    for file in files:
        if pc.all(pc.is_in(contents, found["sha256"])).as_py():
            break  # The boxes of a photograph may be in several files, but its digest is in none.
        rows = read_rows(file, _FOUND.names).cast(_FOUND)
        own = pc.is_in(_content(rows["sha256"]), contents)
        # Many files may have the same content.
        new = pc.invert(pc.is_in(rows["sha256"], found["sha256"]))
        found = pa.concat_tables([found, rows.filter(pc.and_(own, new))])
    write_rows(target, _joined(named, found))


def _content(digests: pa.ChunkedArray) -> pa.ChunkedArray:
    """The SHA-256 of the photograph of each row; the digest of a box ends with the box."""
    return pc.utf8_slice_codeunits(digests, 0, DIGEST_LENGTH)


def _joined(named: pa.Table, there: pa.Table) -> pa.Table:
    """The rows of copies, ordered by path: one for each, or one for each box of its content."""
    digests = there["sha256"]
    there = there.take(pc.index_in(digests.unique(), digests))
    numbers = pa.table({"content": named["content"], "copy": np.arange(named.num_rows)})
    contents = {"content": _content(there["sha256"]), "row": np.arange(there.num_rows)}
    both = numbers.join(pa.table(contents), "content", join_type="inner")
    rows, own = named.take(both["copy"]), there.take(both["row"])
    box = pc.utf8_slice_codeunits(own["sha256"], DIGEST_LENGTH)
    columns = {name: rows[name] for name in LISTING.names}
    columns["path"] = pc.binary_join_element_wise(rows["path"], box, "")
    columns |= {"sha256": own["sha256"], "features": own["features"]}
    return pa.table(columns).select(FEATURES.names).cast(FEATURES).sort_by("path")
