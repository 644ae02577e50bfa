"""Joins small chunks of features in tasks: see :mod:`fruits.features.compaction`."""

from fruits.features.compaction import commit_compaction, join_files, plan_compactions
from fruits.features.moments_file import try_merge
from fruits.features.writer import FeatureWriter
from fruits.tasks.workers import Workers


def compact(workers: Workers, writer: FeatureWriter) -> int:
    """Joins small chunks if there are many; rows and moments keep the same bits.

    Args:
        workers: The workers.
        writer: The features, after :meth:`FeatureWriter.sweep`.

    Returns:
        The number of chunks that were joined to larger ones.
    """
    root, joined = writer.root, 0
    # Joined chunks may be enough for the next tier.
    while planned := plan_compactions(writer):
        chunks = sum(len(one.chunks) for one in planned)
        what = f"compact: {chunks:,} chunks"
        files = [join for one in planned for join in one.joins]
        workers.run(lambda join: join_files(root, join), files, what)
        moments = [join for one in planned for join in one.moments]
        # Damaged moments are measured again later.
        workers.run(lambda join: try_merge(*join), moments, f"{what}, moments")
        for one in planned:
            commit_compaction(writer, one)
        writer.delete_replaced()
        joined += chunks
    return joined
