"""Commits the rows of any number of copies with a join in Spark; see :mod:`fruits.tasks.copies`."""

import math
import uuid
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fruits.features.rows import FEATURES, REJECTED, write_rows
from fruits.features.writer import FeatureWriter
from fruits.spark.parquet import read_features, read_parquet
from fruits.spark.workers import described
from fruits.storage.files import delete_files
from fruits.tasks.copies import DIGEST_LENGTH, ROWS_OF_A_FILE, Copies

# Not "timestamp", which means a time without a zone in some sessions.
_NAMED = (
    "path string, label string, split string, length long, modified timestamp_ltz, content string"
)


def commit_copies(spark: SparkSession, store: FeatureWriter, copies: Copies) -> None:
    """Commits the rows of copies, with the features of their contents.

    Args:
        spark: The session.
        store: The features.
        copies: The copies, at least one.
    """
    named = read_parquet(spark, *copies.staged, schema=_NAMED)
    files = math.ceil(copies.count / ROWS_OF_A_FILE)
    rows = _rows(spark, store, named).repartitionByRange(files, "path")
    rows = rows.sortWithinPartitions("path")
    staged = store.staged

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        table = pa.Table.from_batches(batches, FEATURES)
        if table.num_rows:
            name = f"{uuid.uuid4().hex}.parquet"
            write_rows(staged / name, table)
            yield pa.record_batch({"first": table["path"][:1].combine_chunks(), "file": [name]})

    with described(spark, f"extract: {copies.count:,} copies of known images"):
        written = rows.mapInArrow(write, "first string, file string").toArrow().sort_by("first")
    store.commit(written["file"].to_pylist(), REJECTED.empty_table())
    delete_files(store.root, [file.path for file in copies.staged])


def _rows(spark: SparkSession, store: FeatureWriter, named: DataFrame) -> DataFrame:
    """The rows of copies: one for each, or one for each box of its content."""
    # A photograph with boxes has a row for each box, whose digest and path end with the box.
    there = read_features(spark, store).select("sha256", "features")
    there = there.withColumn("content", F.substring("sha256", 1, DIGEST_LENGTH))
    # First, because the next steps would sort and send the features of all rows.
    there = there.join(named, "content", "left_semi").dropDuplicates(["sha256"])
    box = F.expr(f"substring(sha256, {DIGEST_LENGTH + 1})")
    rows = named.join(there, "content").withColumn("path", F.concat("path", box))
    return rows.select(FEATURES.names)
