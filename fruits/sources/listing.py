"""Tables of files: their schema, and the set operations on them."""

from bisect import bisect_left, bisect_right

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LISTING = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("length", pa.int64()),
        ("modified", pa.timestamp("us", tz="UTC")),
    ]
)


IDENTITY = ["path", "length", "modified"]

ROWS = 16_384
"""The number of rows that are read, made or written together while a source is listed."""


def sample_evenly(listing: pa.Table, limit: int | None) -> pa.Table:
    """At most ``limit`` rows, evenly spread over the listing, so that no label is favoured."""
    if limit is None or limit >= listing.num_rows:
        return listing
    return listing.take([number * listing.num_rows // limit for number in range(limit)])


def anti_join(files: pa.Table, others: pa.Table) -> pa.Table:
    """The files that are not among the others, or differ in length or modification time.

    Args:
        files: a table with the columns :data:`IDENTITY`; the order of its rows is kept. It may have
            several versions of a file, with the same path.
        others: another table with these columns.
    """
    return files.filter(pc.invert(_are_among(files, others)))


def semi_join(files: pa.Table, others: pa.Table) -> pa.Table:
    """The files that are among the others with the same length and modification time."""
    return files.filter(_are_among(files, others))


def last_of_each(files: pa.Table) -> pa.Table:
    """Of the rows with the same path, length and modification time, the last one; in order."""
    rows = _numbered(files).group_by(IDENTITY).aggregate([("row", "max")])
    return files.take(np.sort(rows["row_max"].to_numpy()))


def in_sorted(paths: pa.ChunkedArray | pa.Array, wanted: pa.ChunkedArray) -> pa.Array:
    """Whether each path is among some sorted ones.

    Arrow hashes all wanted paths in each call, so it gets only those in the range of `paths`: a
    file of features has a few hundred neighbouring paths, and there may be millions of wanted ones.
    """
    ends = pc.min_max(paths).as_py()
    if ends["min"] is None:
        return pc.is_in(paths, wanted.slice(0, 0))
    start = bisect_left(range(len(wanted)), ends["min"], key=lambda n: wanted[n].as_py())
    stop = bisect_right(range(len(wanted)), ends["max"], key=lambda n: wanted[n].as_py())
    return pc.is_in(paths, wanted.slice(start, stop - start))


def _are_among(files: pa.Table, others: pa.Table) -> pa.Array:
    """Whether each file is among the others with the same length and modification time."""
    found = np.zeros(files.num_rows, bool)
    if files.num_rows and others.num_rows:
        same = _numbered(files).join(others.select(IDENTITY), IDENTITY, join_type="left semi")
        found[same["row"].to_numpy()] = True
    return pa.array(found)


def _numbered(files: pa.Table) -> pa.Table:
    """The identity of each file, and the number of its row."""
    return files.select(IDENTITY).append_column("row", pa.array(np.arange(files.num_rows)))
