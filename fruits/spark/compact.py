"""Joins small chunks of features, as Spark jobs: see :mod:`fruits.features.compaction`."""

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
    """Joins chunks where there are many; rows and moments keep their bits.

    Args:
        spark: the session.
        writer: of the features, swept.

    Returns:
        How many chunks were replaced by one.
    """
    compaction = plan_compaction(writer)
    if compaction is None:
        return 0
    folder, chunks = writer.uri, len(compaction.chunks)
    what = f"compact: {chunks:,} chunks"
    run_tasks(spark, lambda join: join_files(folder, join), compaction.joins, what)
    run_tasks(spark, join_moments, compaction.moments, f"{what}, moments")
    commit_compaction(writer, compaction)
    return chunks
