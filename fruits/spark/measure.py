"""Spark jobs over the table of features: which rows are known, dropping rows, and their moments."""

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fruits.features.moments import Moments, measured_by_label
from fruits.features.moments_file import is_current
from fruits.features.rows import FEATURES_DDL, read_rows, write_rows
from fruits.features.table import Chunk, FeatureTable
from fruits.features.writer import FeatureWriter
from fruits.sources.listing import IDENTITY, LISTING, anti_join
from fruits.spark.parquet import read_parquet
from fruits.spark.tasks import run_tasks
from fruits.storage.files import delete, replace
from fruits.storage.location import filesystem_of


def read_table(spark: SparkSession, table: FeatureTable) -> DataFrame:
    """All features that are committed."""
    # By name: a file that somebody else put into the folder is not a row of ours.
    return read_parquet(spark, *table.files(), schema=FEATURES_DDL)


def known(spark: SparkSession, table: FeatureTable) -> pa.Table:
    """Of each committed row, its identity, the start of its digest, and the file it is in.

    Returns:
        Columns :data:`fruits.sources.listing.IDENTITY`, ``digest`` (8 bytes) and ``file``.
    """
    schema = pa.schema([LISTING.field(name) for name in IDENTITY])
    schema = schema.append(pa.field("digest", pa.binary())).append(pa.field("file", pa.string()))
    if not any(chunk.files for chunk in table.chunks()):
        return schema.empty_table()
    rows = read_table(spark, table).select(
        *IDENTITY,
        F.unhex(F.substring("sha256", 1, 16)).alias("digest"),
        F.col("_metadata.file_name").alias("file"),
    )
    return rows.toArrow().cast(schema)


def drop(spark: SparkSession, writer: FeatureWriter, stale: pa.Table) -> None:
    """Drops rows, file by file; each file is replaced whole.

    The moments of the chunks that lose rows are dropped as well, to be measured anew.

    Args:
        spark: the session.
        writer: of the features.
        stale: some of the rows of :meth:`known`.
    """
    names = set(pc.unique(stale["file"]).to_pylist())
    if not names:
        return
    writer.lock.require()
    for chunk in writer.chunks():
        if names & set(chunk.files):
            delete(writer.side_file(chunk.number, "moments"))
    gone = spark.sparkContext.broadcast(stale.select(IDENTITY))
    run_tasks(
        spark,
        lambda uri: _rewrite(uri, gone.value),
        [f"{writer.uri}/{name}" for name in sorted(names)],
        f"drop: {stale.num_rows:,} images that are gone",
    )


def moments(spark: SparkSession, table: FeatureTable, listing: pa.Table | None = None) -> Moments:
    """The moments of all features, or of those of some files only.

    The sums are exact, so the result depends on the set of rows alone: not on the cluster, on how
    they were committed, nor on where a run was interrupted. What was measured is kept for each
    chunk, so that old features are not read again when the table has grown; where that is damaged,
    it is measured again.

    Args:
        spark: the session.
        table: the features.
        listing: the files that count, a table with ``path``; None for all.
    """
    chunks = [chunk for chunk in table.chunks() if chunk.files]
    suffix = "moments" if listing is None else "part.moments"
    targets = {chunk.number: table.side_file(chunk.number, suffix) for chunk in chunks}
    todo = [
        chunk for chunk in chunks if listing is not None or not _measured(targets[chunk.number])
    ]
    paths = spark.sparkContext.broadcast(None if listing is None else listing["path"])

    def measure(job: tuple[list[str], str]) -> None:
        files, target = job
        columns = ["path", "label", "features"]
        tables = (read_rows(file, columns, paths.value) for file in files)
        batches = (batch for table in tables for batch in table.to_batches())
        replace(target, measured_by_label(batches).to_bytes())

    def measure_all(some: list[Chunk]) -> None:
        jobs = [([f"{table.uri}/{name}" for name in c.files], targets[c.number]) for c in some]
        run_tasks(spark, measure, jobs, f"fit: moments of {len(jobs):,} chunks")

    measure_all(todo)
    total = Moments.empty()
    for chunk in chunks:
        target = targets[chunk.number]
        filesystem, path = filesystem_of(target)
        try:
            own = Moments.from_bytes(filesystem.cat_file(path))
        except ValueError:
            measure_all([chunk])
            own = Moments.from_bytes(filesystem.cat_file(path))
        total = total.merge(own)
        if listing is not None:
            filesystem.rm_file(path)
    return total


def _rewrite(uri: str, stale: pa.Table) -> None:
    rows = read_rows(uri)
    identity = rows.select(IDENTITY).cast(stale.schema)
    write_rows(uri, rows.filter(pc.is_in(rows["path"], anti_join(identity, stale)["path"])))


def _measured(uri: str) -> bool:
    """Whether moments are there, and not of a version that kept less."""
    filesystem, path = filesystem_of(uri)
    try:
        return is_current(filesystem.cat_file(path, start=0, end=8))
    except FileNotFoundError:
        return False
