"""A run that would only make again what is there ends here, before Spark starts."""

from __future__ import annotations

import json
import os
from typing import Any

from fruits.errors import FruitsError
from fruits.runs.begin import Begun
from fruits.runs.config import RunConfig
from fruits.runs.made import RECORD
from fruits.runs.outputs import Outputs
from fruits.runs.summary import describe_unchanged
from fruits.sources.open_source import places_of
from fruits.storage.files import probe
from fruits.storage.location import Location
from fruits.storage.lock import exclusive


def may_be_unchanged(config: RunConfig) -> bool:
    """Whether it is worth finding out before Spark starts: cheap, and not sure of anything.

    Also where it cannot be told, or the images are not there: the error comes the sooner.
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


def report_if_unchanged(begun: Begun) -> dict[str, Any] | None:
    """The new content of run.json, where all results are in place; None where there is work to do.

    Results are in place where they follow from the same images, options, network, model, versions,
    code and instruction set, and every file is there as the run that made them left it.

    Args:
        begun: the run; its output is locked for a moment.

    Raises:
        OutputError: another run writes there, or the output cannot be used.
        StorageError: the store cannot be used.
    """
    if begun.config.overwrite or _kept_report(begun) is None:
        return None
    with begun.outputs.errors(), exclusive(begun.outputs.uri("_lock")):
        with begun.stages("check"):
            # Until the lock was there, another run may have begun and ended.
            report = _kept_report(begun)
        return None if report is None else _write(begun, report)


def _kept_report(begun: Begun) -> dict[str, Any] | None:
    """What run.json says, where it goes with the run and with all files."""
    with begun.outputs.errors():
        made = begun.outputs.made()
        if not made.states or not begun.outputs.exists("run.json"):
            return None
        try:
            report = dict(json.loads(begun.outputs.read("run.json")))
        except (ValueError, TypeError):
            return None
        same = report.get("fingerprint") == begun.fingerprint
        return report if same and made.is_untouched else None


def _write(begun: Begun, report: dict[str, Any]) -> dict[str, Any]:
    """Writes run.json anew; where that is interrupted, the next run does everything."""
    report = describe_unchanged(report, begun.config, begun.stages.seconds, begun.found.passed_over)
    begun.outputs.write_report(report)
    begun.outputs.made().record_states()
    return report
