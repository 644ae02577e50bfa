"""The counts of a run, the content of run.json, and the summary for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fruits.classify.evaluate import FIGURES, Evaluation
from fruits.errors import FruitsError, OutputError, on_one_line, one_line
from fruits.features.table import FeatureTable
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.evaluation_lines import evaluation_lines
from fruits.runs.output_record import PAGE, RESULTS
from fruits.runs.outputs import Outputs
from fruits.runs.versions import package_versions, version_of
from fruits.runs.workers import describe_workers
from fruits.sources.selection import described
from fruits.storage.location import Location
from fruits.wording import counted

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from fruits.reduction.fit import Reduction

_COUNTED_FILES = 1_000
"""The most files of features whose rows are counted after Ctrl-C: each needs a request."""


@dataclass(frozen=True)
class Counts:
    """The counts of the images: found = extracted + reused + rejected.

    Attributes:
        found: The images that the run uses.
        extracted: The images that went through the CNN in this run.
        reused: The images whose content already had features, under the same name or another.
        rejected: The images without features.
        boxes: The boxes of images that are not rejected; None without a detector.
    """

    found: int
    extracted: int
    reused: int
    rejected: int
    boxes: int | None = None

    @classmethod
    def of(cls, found: int, extracted: int, rejected: int, boxes: int | None = None) -> Counts:
        """The counts, if all other images have features of an earlier run."""
        return cls(found, extracted, found - extracted - rejected, rejected, boxes)

    @property
    def rows(self) -> int:
        """The number of rows of features."""
        return self.extracted + self.reused if self.boxes is None else self.boxes

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {name: count for name, count in asdict(self).items() if count is not None}


def describe(
    config: RunConfig,
    counts: Counts,
    graph: CompiledGraph,
    reduction: Reduction,
    turned: dict[str, float] | None,
    seconds: dict[str, float],
    session: SparkSession | None,
    slots: int,
    ran: list[str],
    passed_over: dict[str, int],
    fingerprint: dict[str, str] | None,
) -> dict[str, Any]:
    """The content of run.json.

    ``finished`` is the time of the results. ``fingerprint`` has the digests of the inputs
    (:mod:`fruits.runs.fingerprint`), or is None if the next run must try some images again.
    ``basis_turned_degrees`` has, by the number of leading components, the largest angle between
    those of the last run, or of the model that is used, and those of this run; see
    :attr:`fruits.runs.reduce.Reduced.turned`.
    ``passed_over`` counts ignored files by suffix, if there are any.
    """
    speed = counts.extracted / seconds["extract"] if counts.extracted else 0.0
    return {
        "parameters": config.as_dict(),
        "counts": counts.as_dict() | ({"passed_over": passed_over} if passed_over else {}),
        "weights_sha256": graph.weights_sha256,
        "components": reduction.components,
        "explained_variance": reduction.explained_variance[: reduction.components].tolist(),
        "basis_turned_degrees": turned,
        "images_per_second": round(speed, 1),
        "seconds": total_seconds(seconds),
        "versions": package_versions()
        | {"pyspark": session.version if session else version_of("pyspark")},
        # The engines and instruction sets of all runs on these features. Features of one entry are
        # equal bit for bit; those of different entries differ in the last bits.
        "ran": ran,
        "finished": now(),
        "fingerprint": fingerprint,
        **describe_workers(session, slots),
    }


def total_seconds(seconds: dict[str, float]) -> dict[str, float]:
    """The seconds of the stages, with their sum."""
    return seconds | {"total": round(sum(seconds.values()), 3)}


def now() -> str:
    """The current time in UTC for run.json: ISO 8601, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_unchanged(
    report: dict[str, Any],
    config: RunConfig,
    seconds: dict[str, float],
    passed_over: dict[str, int],
) -> dict[str, Any]:
    """The content of run.json after a run that found all results in place.

    Args:
        report: The previous content.
        config: The options of the run.
        seconds: The seconds of the stages.
        passed_over: The number of files that are no images, by suffix.
    """
    had = report["counts"]
    counts = Counts.of(had["found"], 0, had["rejected"], had.get("boxes"))
    turned = report["basis_turned_degrees"]
    return report | {
        "parameters": config.as_dict(),
        "counts": counts.as_dict() | ({"passed_over": passed_over} if passed_over else {}),
        "basis_turned_degrees": turned and dict.fromkeys(turned, 0.0),
        "images_per_second": 0.0,
        "seconds": total_seconds(seconds),
        "checked": now(),
    }


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """The scheme and the figures of an evaluation, by name."""
    return {name: getattr(evaluation, name) for name in ("scheme", *FIGURES)}


def summary(report: dict[str, Any], outputs: Outputs) -> str:
    """The figures of run.json, and the paths of the results."""
    counts, seconds = report["counts"], report["seconds"]
    boxes = f"; {counts['boxes']:,} boxes" if "boxes" in counts else ""
    explain = "component explains" if report["components"] == 1 else "components explain"
    speed = f" ({report['images_per_second']:,.0f} images/s)" if counts["extracted"] else ""
    line = (
        f"{counts['found']:,} images: {counts['extracted']:,} extracted{speed}, "
        f"{counts['reused']:,} reused, "
        f"{counts['rejected']:,} rejected{boxes}; {report['components']} {explain} "
        f"{sum(report['explained_variance']):.1%} of the variance; {seconds['total']:.0f} s"
    )
    if "checked" in report:
        since = report["finished"].replace("T", " ").replace("+00:00", " UTC")
        line = f"nothing has changed since {since}: {line}"
    if passed_over := counts.get("passed_over"):
        line += f"; other files, skipped: {described(passed_over)}"
    lines = [line]
    if len(report.get("ran", ())) > 1:
        lines.append(
            "  the features come from different kinds of processors and differ in the last bits: "
            + "; ".join(report["ran"])
        )
    there = [name for name in RESULTS if name != PAGE and outputs.exists(name)]
    lines += [*evaluation_lines(report), *_quality_lines(report)]
    lines += [f"  {name:11} {outputs.uri(name)}" for name in there]
    # The report is on the last line, where users look first.
    page = [f"  report      {outputs.link(PAGE)}"] if outputs.exists(PAGE) else []
    return "\n".join(map(on_one_line, [*lines, *page]))


def _quality_lines(report: dict[str, Any]) -> list[str]:
    """A line with the findings, and a line for each check that was not made."""
    found = dict(report.get("quality") or {})
    if not found:
        return []
    skipped = found.pop("skipped", {})
    counts = [
        f"{count:,} drift" if kind == "drift" else counted(count, kind)
        for kind, count in found.items()
        if count
    ]
    lines = [f"  findings: {', '.join(counts) or 'none'}"]
    return lines + [f"  {kind}: {why}" for kind, why in skipped.items()]


def summary_of(outputs: Outputs) -> str:
    """The summary of the finished run in an output folder.

    Raises:
        OutputError: There is none, or its run.json is damaged.
    """
    with _damage_errors(outputs):
        return summary(report_of(outputs), outputs)


def report_of(outputs: Outputs) -> dict[str, Any]:
    """The content of run.json of the finished run in an output folder.

    Raises:
        OutputError: There is none, or it is damaged.
    """
    if not outputs.exists("run.json"):
        raise OutputError(
            f"output: wanted a finished run; {outputs.uri('run.json')} does not exist: give the "
            "output of a run (a comparison has one for each network), or run first"
        )
    with _damage_errors(outputs):
        return dict(json.loads(outputs.read("run.json")))


@contextmanager
def _damage_errors(outputs: Outputs) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"output: {outputs.uri('run.json')} is damaged ({type(error).__name__}: "
            f"{one_line(error)}): run again, which writes a new one"
        ) from error


def interruption(output: str, rows: str = "images", overwrite: bool = False) -> str:
    """One line for an interrupted run: what is committed, and how to continue.

    Args:
        output: The output of the run.
        rows: The name of the rows of features, "images" or "boxes".
        overwrite: Whether the run deletes earlier results first.
    """
    again = "the same command continues from there"
    if overwrite:
        again = "leave out overwrite to continue from there; with it, they are deleted first"
    with suppress(FruitsError, OSError, ValueError):  # A reason is of no use after Ctrl-C.
        table = FeatureTable(Location.of(output) / "features")
        if not table.chunks():
            return "interrupted; no image was committed yet: the same command begins again"
        files = len(table.files())
        if files <= _COUNTED_FILES:
            count = table.dataset().count_rows() if files else 0
            features = f"the features of {count:,} {rows} are committed in {output}"
            return f"interrupted; {features}: {again}"
    return f"interrupted; the features that were committed in {output} are kept: {again}"
