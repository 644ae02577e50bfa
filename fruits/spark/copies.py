"""Commits rows for files whose content already has features, without the network."""

import uuid
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fruits.features.rows import FEATURES, REJECTED, write_rows
from fruits.features.writer import FeatureWriter
from fruits.sources.listing import LISTING
from fruits.spark.measure import read_table
from fruits.spark.parquet import read_parquet
from fruits.spark.tasks import described
from fruits.storage.files import delete
from fruits.storage.location import Location

# Not "timestamp", which means a time without a zone in some sessions.
_NAMED = (
    "path string, label string, split string, length long, modified timestamp_ltz, content string"
)

_DIGEST_LENGTH = 64
"""The number of hexadecimal digits of a SHA-256."""


class Copies:
    """Collects files that are copies, in staged Parquet files, and commits their rows at the end.

    Args:
        store: The features.

    Attributes:
        count: The number of copies.
    """

    def __init__(self, store: FeatureWriter) -> None:
        self.count = 0
        self._store = store
        self._staged: list[Location] = []

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
        self._staged.append(file)
        self.count += chosen.num_rows

    def commit(self, spark: SparkSession) -> None:
        """Commits the rows of all copies, with the features of their contents."""
        if not self._staged:
            return
        named = read_parquet(spark, *self._staged, schema=_NAMED)
        there = read_table(spark, self._store).select("sha256", "features")
        there = there.dropDuplicates(["sha256"])
        # A photograph with boxes has a row for each box, whose digest and path end with the box.
        there = there.withColumn("content", F.substring("sha256", 1, _DIGEST_LENGTH))
        box = F.expr(f"substring(sha256, {_DIGEST_LENGTH + 1})")
        rows = named.join(there, "content").withColumn("path", F.concat("path", box))
        rows = rows.select(FEATURES.names).orderBy("path")
        staged = self._store.staged

        def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            table = pa.Table.from_batches(batches, FEATURES)
            if table.num_rows:
                name = f"{uuid.uuid4().hex}.parquet"
                write_rows(staged / name, table)
                yield pa.record_batch({"first": table["path"][:1].combine_chunks(), "file": [name]})

        with described(spark, f"extract: {self.count:,} copies of known images"):
            written = rows.mapInArrow(write, "first string, file string").toArrow().sort_by("first")
        self._store.commit(written["file"].to_pylist(), REJECTED.empty_table())
        for file in self._staged:
            delete(file)
