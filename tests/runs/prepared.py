"""Prepares runs."""

import io

from fruits.runs.config import RunConfig
from fruits.runs.inputs import list_images
from fruits.runs.prepare import PreparedRun, prepare_run
from fruits.runs.progress import Stages


def prepared(config: RunConfig) -> PreparedRun:
    """A run whose images are listed and whose inputs are checked."""
    stages = Stages(io.StringIO())
    return prepare_run(config, stages, list_images(config, stages))
