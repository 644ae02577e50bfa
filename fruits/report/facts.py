"""The figures of a run, with the texts of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fruits.report.data import ReportData
from fruits.sources.selection import described

_WHY = {
    "grouped cross-validation": (
        "Whole groups, such as all frames of one film, were held out of the training and then "
        "predicted: expect this accuracy for new objects."
    ),
    "split: test": (
        "The test side of the data set. If it shows the same objects as the training side, its "
        "accuracy is higher than the accuracy for new objects."
    ),
    "split: validation": "The validation side of the data set; see the test side.",
    "images given": "All labelled images of this run; the model was trained on other images.",
}
_WHY["split: train"] = "Images that the model may have been trained on: the figure is too high."


@dataclass(frozen=True)
class Figure:
    """A headline figure.

    Attributes:
        value: The figure, in large letters.
        name: The name of the figure.
        why: One sentence on how it was measured.
    """

    value: str
    name: str
    why: str


def counts(run: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The counts of extracted, reused and rejected images."""
    return [(name, int(run["counts"].get(name, 0))) for name in ("extracted", "reused", "rejected")]


def passed_over(run: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The number of files that are no images, by kind, the most frequent first."""
    found: Mapping[str, int] = run["counts"].get("passed_over") or {}
    return sorted(found.items(), key=lambda one: (-one[1], one[0]))


def passed_over_text(run: Mapping[str, Any]) -> str:
    """The files that are no images, in one line."""
    return described(dict(run["counts"].get("passed_over") or {}))


def reasons(report: ReportData) -> list[tuple[str, int]]:
    """The reasons of rejected images with their number, the most frequent first."""
    return report.rejected.reasons.most_common()


def headline(run: Mapping[str, Any]) -> list[Figure]:
    """The figures that matter most: accuracies, calibration and unknown images."""
    found = []
    for one in run.get("evaluation") or []:
        name = f"accuracy on {one['images']:,} images, {one['scheme']}"
        found.append(Figure(f"{one['accuracy']:.1%}", name, _why(one)))
    if found:
        first = run["evaluation"][0]
        found.append(_calibration(first))
        found.append(_unknown(run["evaluation"]))
    return found


def _why(one: Mapping[str, Any]) -> str:
    text = _WHY.get(one["scheme"], "")
    if identical := one.get("identical"):
        are = "image is" if identical == 1 else "images are"
        text += f" {identical:,} {are} also in the training, byte for byte."
    if unseen := one.get("unseen_labels"):
        text += (
            f" {sum(unseen.values()):,} images have labels without training images; they count "
            "as wrong."
        )
    return text.strip()


def _calibration(one: Mapping[str, Any]) -> Figure:
    return Figure(
        f"{one['calibration_error']:.3f}",
        f"calibration error, {one['scheme']}",
        "How far the confidence is from the share of right answers, on average: 0 is best, and "
        "0.05 means that “90%” is right about 85 or 95 times in a hundred.",
    )


def _unknown(evaluations: list[Mapping[str, Any]]) -> Figure:
    shares = "; ".join(f"{one['scheme']}: {one['unknown']:.1%}" for one in evaluations)
    return Figure(
        f"{evaluations[-1]['unknown']:.1%}",
        f"unknown, {evaluations[-1]['scheme']}",
        "Images that are farther from every label than 99 of 100 held-out training images "
        f"({shares}).",
    )


def table(run: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """All figures of all evaluations: a name, and a value for each scheme."""
    names = {
        "images": ("images", "{:,}"),
        "accuracy": ("accuracy", "{:.1%}"),
        "balanced_accuracy": ("accuracy, mean over the labels", "{:.1%}"),
        "top5": ("among the five most probable", "{:.1%}"),
        "calibration_error": ("calibration error", "{:.3f}"),
        "log_loss": ("log loss", "{:.3f}"),
        "unknown": ("unknown", "{:.1%}"),
        "most_frequent": ("baseline: most frequent label", "{:.1%}"),
        "nearest_mean": ("baseline: nearest mean", "{:.1%}"),
        "identical": ("identical to training images", "{:,}"),
    }
    rows = []
    for key, (text, form) in names.items():
        values = [one.get(key) for one in run.get("evaluation") or []]
        if any(value is not None for value in values):
            rows.append((text, ["not measured" if v is None else form.format(v) for v in values]))
    return rows
