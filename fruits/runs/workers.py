"""The workers of a run: those of Spark, or for little work, a few local processes."""

from __future__ import annotations

from fruits.planning.resources import available_cores
from fruits.runs import run_json
from fruits.runs.config import RunConfig
from fruits.runs.outputs import Outputs
from fruits.sources.parts import IN_MEMORY
from fruits.spark.configuration import local_tasks, may_do_without_spark
from fruits.storage.files import probe

MOST_NEW = 512
"""The maximum number of new images of a run without Spark. With more, the start of Spark, five to
ten seconds, matters less, and people want to see the progress on Spark's page."""

_MOST_PROCESSES = 16
"""The maximum number of processes of a run without Spark. The start of each takes a second of a
core and 150 MB, and 512 images in 16 processes take about as long."""


def local_processes(config: RunConfig, images: int) -> int | None:
    """The number of processes for a run without Spark; None if the run needs Spark.

    Spark is needed for a softmax regression, and if the configuration asks for a cluster.

    Args:
        config: The options.
        images: The number of images of the run.
    """
    fits_softmax = config.classifier == "softmax" and config.model is None
    if fits_softmax or images > IN_MEMORY or not may_do_without_spark():
        return None
    # Most of the images that the last run found are known.
    if images > MOST_NEW and images - _found(config) > MOST_NEW:
        return None
    return min(local_tasks(available_cores()), max(images, 1), _MOST_PROCESSES)


def _found(config: RunConfig) -> int:
    """The number of images of the last finished run in the output; 0 if there is none."""
    outputs = Outputs.of(config.output)
    if config.overwrite:
        return 0
    with outputs.errors():
        try:
            # The first request to a store, which may be unreachable.
            probe(outputs.root / run_json.NAME)
            return int((run_json.read_earlier(outputs.root) or {})["counts"]["found"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return 0
