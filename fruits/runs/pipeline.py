"""The whole flow: a folder of photographs -> features, components, a classifier and a predictor."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from typing import TextIO

from fruits.networks.detector import PREFIX
from fruits.runs.checks import require_apart
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.inputs import list_images
from fruits.runs.prepare import prepare_run
from fruits.runs.progress import Stages
from fruits.runs.summary import interruption
from fruits.runs.unchanged import may_be_unchanged, report_if_unchanged
from fruits.runs.workers import local_processes
from fruits.spark.early_start import start_java_early
from fruits.tasks.local import LocalWorkers


def run(config: RunConfig, progress: TextIO | None = None) -> Run:
    """Extracts the features of all images, reduces and classifies them, and writes the results.

    Args:
        config: The options.
        progress: The stream for lines about the progress; stderr by default.

    Raises:
        FruitsError: The caller can fix the problem; the message is one line.
        KeyboardInterrupt: The message says what is committed.
    """
    try:
        return _run(config, progress or sys.stderr)
    except KeyboardInterrupt:
        rows = "boxes" if (config.crop or "").startswith(PREFIX) else "images"
        line = interruption(config.output, rows, config.overwrite)
        raise KeyboardInterrupt(line) from None


def _run(config: RunConfig, progress: TextIO) -> Run:
    """Does :func:`run`, without the message for interruptions."""
    if find_spec("pyspark") is None:
        # Checked now, not after minutes of listing.
        raise ModuleNotFoundError("No module named 'pyspark'", name="pyspark")
    require_apart(config)  # Again with the linked folders, after the images are listed.
    stages = Stages(progress)
    listed = list_images(config, stages)
    processes = local_processes(config, listed[-1].num_rows)
    with LocalWorkers(processes) if processes else nullcontext() as local:
        start = local.start if local else start_java_early
        if not may_be_unchanged(config):
            start()
        prepared = prepare_run(config, stages, listed)
        if report := report_if_unchanged(prepared):
            found = Run(prepared.outputs, report)
            if "PYSPARK_GATEWAY_PORT" in os.environ:
                _ = found.spark  # YARN reports an application that never had a session as failed.
            return found
        start()
        # These modules take a second to import. Java or the workers start at the same time.
        from fruits.runs.context import open_context

        with open_context(prepared, local) as context:
            from fruits.runs.steps import execute

            return execute(context)
