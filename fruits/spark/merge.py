"""Merges the moments of many chunks in a tree of tasks: the driver reads a few, however many."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from pyspark.sql import SparkSession

from fruits.features.moments_file import merge_files
from fruits.spark.tasks import run_tasks
from fruits.storage.files import delete

MERGED = 16
"""Moments that a task merges, or the driver: 13 MB each with 1,280 features."""


def merged(spark: SparkSession, uris: Sequence[str], folder: str) -> list[str]:
    """URIs of a few moments with the same sum, in a folder or among the given ones.

    Args:
        spark: the session.
        uris: of moments. Where one is damaged, it is left to the caller, with those that would be
            merged with it.
        folder: URI, for merged ones.
    """
    found = list(uris)
    whole = True
    while len(found) > MERGED and whole:
        groups = [found[n : n + MERGED] for n in range(0, len(found), MERGED)]
        jobs = [(group, f"{folder}/{uuid.uuid4().hex}.moments") for group in groups]
        done = run_tasks(spark, _merge, jobs, f"fit: merge {len(found):,} moments")
        whole = all(done)
        both = zip(jobs, done, strict=True)
        fewer = [uri for (group, target), one in both for uri in ([target] if one else group)]
        for uri in {*found} - {*uris, *fewer}:
            delete(uri)
        found = fewer
    return found


def _merge(job: tuple[list[str], str]) -> bool:
    """Whether the moments could be merged."""
    try:
        merge_files(*job)
    except ValueError:
        return False
    return True
