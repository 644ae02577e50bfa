"""Joins small chunks of features in tasks: see :mod:`fruits.features.compaction`."""

from fruits.features.compaction import (
    commit_compaction,
    join_files,
    join_moments,
    plan_compaction,
)
from fruits.features.writer import FeatureWriter
from fruits.tasks.workers import Workers


def compact(workers: Workers, writer: FeatureWriter) -> int:
    """Joins small chunks if there are many; rows and moments keep the same bits.

    Args:
        workers: The workers.
        writer: The features, after :meth:`FeatureWriter.sweep`.

    Returns:
        The number of chunks that were joined to one.
    """
    compaction = plan_compaction(writer)
    if compaction is None:
        return 0
    root, chunks = writer.root, len(compaction.chunks)
    what = f"compact: {chunks:,} chunks"
    workers.run(lambda join: join_files(root, join), compaction.joins, what)
    workers.run(join_moments, compaction.moments, f"{what}, moments")
    commit_compaction(writer, compaction)
    return chunks
