"""Tables of files: their schema, and the set operations on them."""

import pyarrow as pa
import pyarrow.compute as pc

LISTING = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("length", pa.int64()),
        ("modified", pa.timestamp("us", tz="UTC")),
    ]
)


IDENTITY = ["path", "length", "modified"]


def sample_evenly(listing: pa.Table, limit: int | None) -> pa.Table:
    """At most ``limit`` rows of a listing, spread over it, so that no label is favoured."""
    if limit is None or limit >= listing.num_rows:
        return listing
    return listing.take([number * listing.num_rows // limit for number in range(limit)])


def anti_join(files: pa.Table, others: pa.Table) -> pa.Table:
    """The files that are not among the others, or differ in length or modification time.

    Args:
        files: a table with the columns :data:`IDENTITY`; the order of its rows is kept.
        others: another one.
    """
    apart = files.select(IDENTITY).join(others.select(IDENTITY), IDENTITY, join_type="left anti")
    return files.filter(pc.is_in(files["path"], apart["path"]))


def semi_join(files: pa.Table, others: pa.Table) -> pa.Table:
    """The files that are among the others, and alike in length and modification time."""
    return anti_join(files, anti_join(files, others))
