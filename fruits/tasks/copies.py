"""Collects files whose content already has features, and commits their rows.

Workers of Spark commit any number of them, see :mod:`fruits.spark.copies`.
"""

import uuid
from collections.abc import Sequence

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
        file = self._store.staged / f"{uuid.uuid4().hex}.parquet"
        write_rows(file, chosen.append_column("content", digests))
        self.staged.append(file)
        self.count += chosen.num_rows


def commit_copies(
    workers: Workers, store: FeatureWriter, copies: Copies, known: Sequence[pa.Table]
) -> None:
    """Commits the rows of a few copies, with the features of their contents.

    Args:
        workers: The workers, each of which reads the files of features that have these contents.
        store: The features.
        copies: The copies, at least one. Their rows are in the memory of the driver.
        known: Tables with the columns ``digest`` and ``file`` of all committed rows, from
            :func:`fruits.tasks.known.known_parts`.
    """
    columns = [*LISTING.names, "content"]
    named = pa.concat_tables(read_rows(file, columns) for file in copies.staged)
    contents = pc.unique(named["content"])
    starts = digest_starts(contents)
    names = {
        name
        for table in known
        for name in table["file"].filter(pc.is_in(table["digest"], starts)).unique().to_pylist()
    }
    shared = workers.share(contents)
    found = workers.run(
        lambda file: _with_contents(file, shared.value),
        [store.root / name for name in sorted(names)],
        f"extract: {copies.count:,} copies of known images",
    )
    shared.destroy()
    rows = _joined(named, pa.concat_tables(found))
    name = f"{uuid.uuid4().hex}.parquet"
    write_rows(store.staged / name, rows)
    store.commit([name], REJECTED.empty_table())
    delete_files(store.root, [file.path for file in copies.staged])


def _with_contents(file: Location, contents: pa.Array) -> pa.Table:
    """The digest and the features of the rows of a file that have one of some contents."""
    rows = read_rows(file, ["sha256", "features"])
    return rows.filter(pc.is_in(_content(rows["sha256"]), contents))


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
