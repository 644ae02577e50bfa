"""The whole flow: a folder of photographs -> features, components, a classifier and a predictor."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TextIO

from fruits.networks.detector import PREFIX
from fruits.runs.begin import begin
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.summary import interruption
from fruits.runs.unchanged import may_be_unchanged, report_if_unchanged
from fruits.spark.early_start import start_java_early

__all__ = ["Run", "run"]


def run(config: RunConfig, progress: TextIO | None = None) -> Run:
    """Extracts the features of all images, reduces and classifies them, and writes the results.

    Args:
        config: what to do.
        progress: where lines about the progress go; by default stderr.

    Raises:
        FruitsError: when something is wrong that the caller can fix; one clear line.
        KeyboardInterrupt: with a line that says what is committed.
    """
    try:
        return _run(config, progress or sys.stderr)
    except KeyboardInterrupt:
        rows = "boxes" if (config.crop or "").startswith(PREFIX) else "images"
        raise KeyboardInterrupt(interruption(config.output, rows)) from None


def _run(config: RunConfig, progress: TextIO) -> Run:
    """:func:`run`, whose interruption says nothing."""
    if find_spec("pyspark") is None:
        # Now, not after minutes of listing.
        raise ModuleNotFoundError("No module named 'pyspark'", name="pyspark")
    if not may_be_unchanged(config):
        start_java_early()
    begun = begin(config, progress)
    if report := report_if_unchanged(begun):
        found = Run(begun.outputs, report)
        if "PYSPARK_GATEWAY_PORT" in os.environ:
            _ = found.spark  # YARN takes an application that never had a session for a failed one.
        return found
    start_java_early()
    # They load Spark, which takes a second, and Java as long to start.
    from fruits.runs.work import open_work

    with open_work(begun) as work:
        from fruits.runs.steps import execute

        return execute(work)
