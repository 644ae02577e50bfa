"""The summary of a run for the terminal, and the line of an interrupted run."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fruits.errors import FruitsError, on_one_line
from fruits.features.table import FeatureTable
from fruits.runs import run_json
from fruits.runs.evaluation_lines import evaluation_lines
from fruits.runs.output_record import PAGE, RESULTS
from fruits.runs.outputs import Outputs
from fruits.sources.selection import described
from fruits.storage.location import Location
from fruits.wording import counted

_COUNTED_FILES = 1_000
"""The most files of features whose rows are counted after Ctrl-C: each needs a request."""


def summary(report: dict[str, Any], outputs: Outputs) -> str:
    """The figures of run.json, and the paths of the results."""
    counts, seconds = report["counts"], report["seconds"]
    boxes = ""
    if (found := counts.get("boxes")) is not None:
        boxes = "; 1 box" if found == 1 else f"; {found:,} boxes"
    explain = "component explains" if report["components"] == 1 else "components explain"
    speed = f" ({report['images_per_second']:,.0f} images/s)" if counts["extracted"] else ""
    line = (
        f"{counted(counts['found'], 'image')}: {counts['extracted']:,} extracted{speed}, "
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
        ConfigError: There is none.
        OutputError: Its run.json is damaged, or cannot be read.
        StorageError: The store cannot be used.
    """
    report = run_json.read(outputs.root, "output")
    with run_json.damage_errors(outputs.root, "output"):
        return summary(report, outputs)


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
