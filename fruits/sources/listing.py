"""Tables of files: their schema, and the set operations on them."""

from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Listing:
    """The images in a source.

    Attributes:
        images: A table of :data:`LISTING`, sorted by path. `path` is a URI as Spark's `binaryFile`
            source writes it, `length` is in bytes; `label` and `split` (train, test or validation)
            are null if the path has none. Members of archives are in the order of the archive,
            with all columns of :data:`fruits.sources.members.ITEMS`.
        passed_over: The number of skipped files by reason, see
            :attr:`fruits.sources.selection.Selection.passed_over`.
        linked: The real paths of folders outside the images that links lead to.
    """

    images: pa.Table
    passed_over: dict[str, int] = field(default_factory=dict)
    linked: list[str] = field(default_factory=list)


def sample_evenly(listing: pa.Table, limit: int | None) -> pa.Table:
    """At most ``limit`` rows, evenly spread over the listing, so that no label is favoured."""
    if limit is None or limit >= listing.num_rows:
        return listing
    return listing.take([number * listing.num_rows // limit for number in range(limit)])


def anti_join(files: pa.Table, others: pa.Table) -> pa.Table:
    """The files that are not among the others, or differ in length or modification time.

    Args:
        files: a table with the columns :data:`IDENTITY`; the order of its rows is kept.
        others: another table with these columns.
    """
    if not files.num_rows or not others.num_rows:
        return files
    missing = files.select(IDENTITY).join(others.select(IDENTITY), IDENTITY, join_type="left anti")
    return files.filter(pc.is_in(files["path"], missing["path"]))


def semi_join(files: pa.Table, others: pa.Table) -> pa.Table:
    """The files that are among the others with the same length and modification time."""
    return anti_join(files, anti_join(files, others))
