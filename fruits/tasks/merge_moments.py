"""Merges the moments of many chunks in a tree of tasks, so that the driver reads only a few."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from fruits.features.moments_file import try_merge
from fruits.storage.files import delete_files
from fruits.storage.location import Location
from fruits.tasks.workers import Workers

MERGED = 16
"""Moments that a task or the driver merges at a time: 13 MB each with 1,280 features."""


def merged(workers: Workers, files: Sequence[Location], folder: Location) -> list[Location]:
    """Merges files of moments to a few files with the same sum.

    Args:
        workers: The workers.
        files: The files of moments. Groups with a damaged file are not merged.
        folder: The folder for merged files.

    Returns:
        Merged files, and given files that were not merged.
    """
    found = list(files)
    whole = True
    while len(found) > MERGED and whole:
        groups = [found[n : n + MERGED] for n in range(0, len(found), MERGED)]
        jobs = [(group, folder / f"{uuid.uuid4().hex}.moments") for group in groups]
        done = workers.run(lambda job: try_merge(*job), jobs, f"fit: merge {len(found):,} moments")
        whole = all(done)
        both = zip(jobs, done, strict=True)
        fewer = [file for (group, target), one in both for file in ([target] if one else group)]
        delete_files(folder, [file.path for file in {*found} - {*files, *fewer}])
        found = fewer
    return found
