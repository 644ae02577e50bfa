"""Ends a run before Spark starts if nothing has changed since the last run."""

from __future__ import annotations

import io
import os
from typing import Any

from fruits.errors import FruitsError
from fruits.runs.config import RunConfig
from fruits.runs.output_record import LOCK, RECORD
from fruits.runs.outputs import Outputs
from fruits.runs.prepare import PreparedRun, prepare_run
from fruits.runs.progress import Stages
from fruits.runs.run_json import describe_unchanged, read_earlier, total_seconds
from fruits.sources.open_source import places_of
from fruits.sources.parts import Found, Parts
from fruits.storage.files import probe
from fruits.storage.location import Location
from fruits.storage.lock import exclusive


def may_be_unchanged(config: RunConfig) -> bool:
    """A cheap check whether workers should start only when it is known that something has changed.

    It is also true if the images are missing or the output cannot be read: the error message then
    comes sooner.
    """
    places = [Location.of(place) for place in places_of(config.images)]
    if any(place.is_local and not os.path.lexists(place.path) for place in places):
        return True
    if config.overwrite:
        return False
    try:
        probe(Outputs.of(config.output).root / RECORD)
    except FileNotFoundError:
        return False
    except (OSError, FruitsError):
        return True
    return True


def seconds_if_unchanged(
    config: RunConfig, listed: tuple[Found, Parts], stages: Stages
) -> dict[str, float] | None:
    """The seconds of a run that finds nothing changed; None if there is something to do.

    Nothing is locked or written.

    Args:
        config: The options of the run.
        listed: The result of :func:`fruits.runs.inputs.list_images`.
        stages: The finished stages, which are part of such a run. Receives the stage ``check``.
    """
    if config.overwrite or not may_be_unchanged(config):
        return None
    try:
        with stages("check"):
            kept = _kept_report(prepare_run(config, Stages(io.StringIO()), listed))
    except FruitsError:  # A run will raise it too.
        return None
    return None if kept is None else total_seconds(stages.seconds)


def report_if_unchanged(prepared: PreparedRun) -> dict[str, Any] | None:
    """The new content of run.json if nothing has changed; None if there is something to do.

    Nothing has changed if images, options, network, model, versions, code and instruction set are
    the same, and every file is as the last run left it.

    Args:
        prepared: The run. Its output is locked for a moment.

    Raises:
        OutputError: Another run writes to the output, or it cannot be used.
        StorageError: The store cannot be used.
    """
    if prepared.config.overwrite or _kept_report(prepared) is None:
        return None
    with prepared.outputs.errors(), exclusive(prepared.outputs.uri(LOCK)) as lock:
        with prepared.stages("check"):
            # Another run may have ended between the first check and the lock.
            report = _kept_report(prepared)
        lock.require()  # This process may have been suspended while it compared the files.
        return None if report is None else _write(prepared, report)


def _kept_report(prepared: PreparedRun) -> dict[str, Any] | None:
    """The content of run.json, if neither the inputs nor the files have changed; else None."""
    with prepared.outputs.errors():
        record = prepared.outputs.record()
        if not record.states or (report := read_earlier(prepared.outputs.root)) is None:
            return None
        same = report.get("fingerprint") == prepared.fingerprint
        return report if same and record.is_untouched else None


def _write(prepared: PreparedRun, report: dict[str, Any]) -> dict[str, Any]:
    """Writes run.json again. If that is interrupted, the next run does all steps."""
    report = describe_unchanged(
        report, prepared.config, prepared.stages.seconds, prepared.found.passed_over
    )
    prepared.outputs.write_report(report)
    prepared.outputs.record().save_states()
    return report
