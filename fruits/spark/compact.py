"""Joins small chunks of features by Spark jobs: see :mod:`fruits.features.compaction`."""

from pyspark.sql import SparkSession

from fruits.features.compaction import (
    commit_compaction,
    join_files,
    join_moments,
    plan_compaction,
)
from fruits.features.writer import FeatureWriter
from fruits.spark.tasks import run_tasks


def compact(spark: SparkSession, writer: FeatureWriter) -> int:
    """Joins small chunks if there are many; rows and moments keep the same bits.

    Args:
        spark: The session.
        writer: The features, after :meth:`FeatureWriter.sweep`.

    Returns:
        The number of chunks that were joined to one.
    """
    compaction = plan_compaction(writer)
    if compaction is None:
        return 0
    root, chunks = writer.root, len(compaction.chunks)
    what = f"compact: {chunks:,} chunks"
    run_tasks(spark, lambda join: join_files(root, join), compaction.joins, what)
    run_tasks(spark, join_moments, compaction.moments, f"{what}, moments")
    commit_compaction(writer, compaction)
    return chunks
