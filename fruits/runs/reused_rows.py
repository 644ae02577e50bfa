"""Finds the components and predictions of the last run that a run can reuse.

Rows are the same bits if the scaler, the PCA, the classifier and the features are the same. The
features in a file are the same if the file has not changed since the last finished run.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from fruits.classify.rows import TablePredictor
from fruits.reduction.fit import Reduction
from fruits.runs.context import RunContext
from fruits.runs.extract import Extracted
from fruits.storage.location import Location
from fruits.tasks.path_ranges import Earlier
from fruits.tasks.project import DIGESTS, SCORES_FOLDER

if TYPE_CHECKING:
    from fruits.runs.outputs import Outputs

MADE_BY = "pca/_made_by.json"
"""The file with the digest of everything that determines the rows, except the features."""

_SAME = ("code", "processor", "versions")
"""The parts of a run's fingerprint that determine the rows."""


def reusable_rows(
    context: RunContext,
    extracted: Extracted,
    reduction: Reduction,
    prediction: TablePredictor | None,
) -> Earlier | None:
    """The tables of the last run, if this run can reuse most of their rows.

    Args:
        context: The run, whose features are complete.
        extracted: The images.
        reduction: The reduction to components.
        prediction: The predictor of images; None without a classifier.

    Returns:
        The tables to reuse; None if all rows must be computed.
    """
    if extracted.dropped is None or context.chosen is not None or not context.states:
        return None
    if _recorded(context.outputs) != _made_by(context, reduction, prediction):
        return None
    record = context.outputs.record()
    now = {name: record.found_states(name) for name in ("features", "pca", "predictions")}
    tables = now["pca"] | now["predictions"]
    if not tables or any(context.states.get(name) != state for name, state in tables.items()):
        return None
    names = sorted(name.removeprefix("pca/") for name in now["pca"] if name.endswith(".parquet"))
    folders = ["predictions", DIGESTS, SCORES_FOLDER] if prediction else []
    needed = {f"{folder}/{name}" for folder in folders for name in names}
    if needed - tables.keys():
        return None
    files = context.store.files()
    fresh = [file for file in files if not _is_same(context, file, now["features"])]
    if 2 * len(fresh) > len(files):
        return None
    gone = sorted(path for paths in extracted.dropped for path in paths.to_pylist())
    return Earlier(context.outputs.root, names, fresh, gone)


def record_rows(
    context: RunContext, reduction: Reduction, prediction: TablePredictor | None
) -> None:
    """Stages the digest of everything that determines the rows, unless ``limit`` is set."""
    if context.chosen is None:
        content = {"sha256": _made_by(context, reduction, prediction)}
        context.staged.write(MADE_BY, (json.dumps(content) + "\n").encode())


def _is_same(context: RunContext, file: Location, now: dict[str, str]) -> bool:
    name = f"features/{file.name}"
    return name in now and context.states.get(name) == now[name]


def _recorded(outputs: Outputs) -> str | None:
    """The digest of the last run; None if there is none, or it cannot be read."""
    if not outputs.exists(MADE_BY):
        return None
    try:
        return str(json.loads(outputs.read(MADE_BY))["sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def _made_by(context: RunContext, reduction: Reduction, prediction: TablePredictor | None) -> str:
    """The hexadecimal SHA-256 of everything that determines the rows, except the features."""
    digest = hashlib.sha256(json.dumps([context.fingerprint[name] for name in _SAME]).encode())
    arrays = [np.asarray(reduction.weights), np.asarray(reduction.offset)]
    if prediction is not None:
        sides = None if prediction.scored is None else sorted(prediction.scored)
        digest.update(json.dumps({"scored": sides}).encode())
        digest.update(prediction.classifier.to_bytes())
        arrays += [] if prediction.means is None else [prediction.means]
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
