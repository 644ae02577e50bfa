"""The counts of a run, run.json, and the figures in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fruits.classify.evaluate import Evaluation
from fruits.errors import FruitsError, OutputError, on_one_line, one_line
from fruits.features.table import open_features
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.made import PAGE, RESULTS
from fruits.runs.outputs import Outputs
from fruits.runs.versions import package_versions
from fruits.sources.selection import described

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from fruits.reduction.fit import Reduction

# The part of an evaluation that fits on one line.
FIGURES = (
    *("scheme", "images", "accuracy", "balanced_accuracy", "top5", "log_loss"),
    *("calibration_error", "unknown", "most_frequent", "nearest_mean", "identical"),
)


@dataclass(frozen=True)
class Counts:
    """What became of the images: found = extracted + reused + rejected.

    Attributes:
        found: images that were asked for.
        extracted: went through the CNN in this run.
        reused: have features already, under their own name or another.
        rejected: yield no features.
        boxes: of those that are not rejected, where a detector has found them; else None.
    """

    found: int
    extracted: int
    reused: int
    rejected: int
    boxes: int | None = None

    @classmethod
    def of(cls, found: int, extracted: int, rejected: int, boxes: int | None = None) -> Counts:
        """The counts where all others have features of an earlier run."""
        return cls(found, extracted, found - extracted - rejected, rejected, boxes)

    @property
    def rows(self) -> int:
        """How many rows of features there are."""
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
    spark: SparkSession,
    ran: list[str],
    passed_over: dict[str, int],
    fingerprint: dict[str, str] | None,
) -> dict[str, Any]:
    """The content of run.json.

    ``finished`` is when the results were made, and ``fingerprint`` what they follow from
    (:mod:`fruits.runs.fingerprint`); None where the next run has something to try again.
    ``basis_turned_degrees`` is there when an earlier run was fitted to other images: by the number
    of leading components, the largest angle between those of then and those of now. ``passed_over``
    is there when files were passed over: how many, by suffix.
    """
    executors = spark.sparkContext._jsc.sc().statusTracker().getExecutorInfos()
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
        # EMR brings a PySpark that pip does not know of.
        "versions": package_versions() | {"pyspark": spark.version},
        # What computed the features in the workers, in this run and in those before it: features of
        # one entry are equal bit for bit, those of different entries differ in the last bits.
        "ran": ran,
        "finished": now(),
        "fingerprint": fingerprint,
        # Spark lists the driver among its executors.
        "spark": {"master": spark.sparkContext.master, "executors": max(1, len(executors) - 1)},
    }


def total_seconds(seconds: dict[str, float]) -> dict[str, float]:
    """The seconds of the stages, with their sum."""
    return seconds | {"total": round(sum(seconds.values()), 3)}


def now() -> str:
    """The time in UTC, as run.json has it: ISO 8601, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_unchanged(
    report: dict[str, Any],
    config: RunConfig,
    seconds: dict[str, float],
    passed_over: dict[str, int],
) -> dict[str, Any]:
    """The content of run.json after a run that found all results in place.

    Args:
        report: the content until then.
        config: of the run.
        seconds: of its stages.
        passed_over: files that are no images, by suffix.
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
    """The part of an evaluation that fits on one line, by name."""
    return {name: getattr(evaluation, name) for name in FIGURES}


def summary(report: dict[str, Any], outputs: Outputs) -> str:
    """The figures of run.json in one line, and where the results lie."""
    counts, seconds = report["counts"], report["seconds"]
    boxes = f"; {counts['boxes']:,} boxes" if "boxes" in counts else ""
    figures = (
        f"{counts['found']:,} images: {counts['extracted']:,} extracted "
        f"({report['images_per_second']:,.0f} images/s), {counts['reused']:,} reused, "
        f"{counts['rejected']:,} rejected{boxes}; {report['components']} components hold "
        f"{sum(report['explained_variance']):.1%} of the variance; {seconds['total']:.0f} s"
    )
    if "checked" in report:
        since = report["finished"].replace("T", " ").replace("+00:00", " UTC")
        figures = f"nothing has changed since {since}: {figures}"
    if passed_over := counts.get("passed_over"):
        figures += f"; no images, passed over: {described(passed_over)}"
    lines = [figures]
    if len(report.get("ran", ())) > 1:
        lines.append(
            "  the features come from processors of different kinds and differ in the last bits: "
            + "; ".join(report["ran"])
        )
    there = [name for name in RESULTS if name != PAGE and outputs.exists(name)]
    lines += [*_evaluation_lines(report), *_quality_lines(report)]
    lines += [f"  {name:9} {outputs.uri(name)}" for name in there]
    # The last line, where people look first.
    page = [f"  report    {outputs.link(PAGE)}"] if outputs.exists(PAGE) else []
    return "\n".join(map(on_one_line, [*lines, *page]))


def _evaluation_lines(report: dict[str, Any]) -> list[str]:
    """A line for each evaluation, or why there is no classifier; none for earlier versions."""
    about = report.get("classifier") or {}
    if reason := about.get("skipped"):
        return [f"  no classifier: {reason}"]
    lines = [_evaluation_line(one) for one in report.get("evaluation", ())]
    if about and not lines:
        return [
            "  the classifier was not evaluated: no label has images to leave out of the training"
        ]
    return lines


def _evaluation_line(one: dict[str, Any]) -> str:
    line = (
        f"  {one['accuracy']:.1%} right of {one['images']:,} images, {one['scheme']}"
        f" (most frequent label: {one['most_frequent']:.1%}"
    )
    if (nearest := one["nearest_mean"]) is not None:
        line += f", nearest mean: {nearest:.1%}"
    line += f"); calibration error {one['calibration_error']:.3f}"
    if identical := one["identical"]:
        line += f"; {identical:,} are byte for byte training images"
    if unseen := one["unseen_labels"]:
        names = ", ".join(f"{label} ({count:,})" for label, count in list(unseen.items())[:3])
        more = f" and {len(unseen) - 3} more" if len(unseen) > 3 else ""
        line += f"; labels that training has not, counted as wrong: {names}{more}"
    return line


def _quality_lines(report: dict[str, Any]) -> list[str]:
    """A line with what was found in the images; none for earlier versions."""
    found = dict(report.get("quality") or {})
    if not found:
        return []
    skipped = found.pop("skipped", {})
    counts = [
        f"{count:,} {kind}{'s' if count > 1 and kind != 'drift' else ''}"
        for kind, count in found.items()
        if count
    ]
    lines = [f"  to look at: {', '.join(counts) or 'nothing'}"]
    return lines + [f"  {kind}: {why}" for kind, why in skipped.items()]


def summary_of(outputs: Outputs) -> str:
    """:func:`summary` of the finished run in an output folder.

    Raises:
        OutputError: there is none, or its run.json is damaged.
    """
    with _damages(outputs):
        return summary(report_of(outputs), outputs)


def report_of(outputs: Outputs) -> dict[str, Any]:
    """The content of run.json of the finished run in an output folder.

    Raises:
        OutputError: there is none, or it is damaged.
    """
    if not outputs.exists("run.json"):
        raise OutputError(f"output: wanted a finished run; {outputs.uri('run.json')} is not there")
    with _damages(outputs):
        return dict(json.loads(outputs.read("run.json")))


@contextmanager
def _damages(outputs: Outputs) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"output: {outputs.uri('run.json')} is damaged ({type(error).__name__}: "
            f"{one_line(error)}): run again, which writes a new one"
        ) from error


def interruption(output: str, rows: str = "images") -> str:
    """One line for a run that was interrupted: what is committed, and how to continue.

    Args:
        output: of the run.
        rows: what its features are of, in the plural.
    """
    again = "the same command continues from there"
    try:
        committed = open_features(output).count_rows()
    except OutputError:
        return "interrupted; no image was committed yet: the same command begins again"
    except (FruitsError, OSError, ValueError):
        return f"interrupted; what was committed in {output} is kept: {again}"
    return f"interrupted; the features of {committed:,} {rows} are committed in {output}: {again}"
