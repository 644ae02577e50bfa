"""The figures of a run, with the texts of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fruits.classify.evaluate import Evaluation, is_worse_than_frequencies
from fruits.classify.rows import scheme_of, side_of_scheme
from fruits.classify.train import SCHEME
from fruits.classify.unevaluated import not_evaluated, uses_model
from fruits.sources.naming import TEST_SPLITS, TRAIN
from fruits.sources.selection import explained
from fruits.wording import are, counted

_HELD_OUT = (
    "The {} images of the data set. If they show the same objects as the training images, this "
    "accuracy is higher than the accuracy for new objects."
)

_WHY = {
    scheme_of(None): "All labelled images of this run.",
    scheme_of(TRAIN): "Images that the model may have been trained on: the figure is too high.",
    **{scheme_of(side): _HELD_OUT.format(side) for side in TEST_SPLITS},
}


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
    ordered = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    return [(explained(reason), count) for reason, count in ordered]


def sides(run: Mapping[str, Any]) -> str:
    """The number of images in each part of the split, in sentences; "" if there is no split."""
    split = run["split"]
    images: dict[str, int] = dict(split["images"])
    without = images.pop("none", 0)
    if not images:
        return ""
    ordered = sorted(images.items(), key=lambda one: one[0] != TRAIN)
    (first, count), *others = ordered
    named = [f"{counted(count, 'image')} {are(count)} in {first}"]
    named += [f"{count:,} in {side}" for side, count in others]
    text = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
    if without:
        text += (
            f"; {without:,} {are(without)} in {'neither' if len(named) == 2 else 'none of them'}"
        )
    text += "."
    if uses_model(run):
        return text
    fitted = "the training images" if split["fitted_to"] == TRAIN else "all images"
    return f"{text} The model was fitted to {fitted}."


def missing(run: Mapping[str, Any]) -> list[str]:
    """What `fruits.classify.unevaluated` says about the evaluations of a run, as sentences."""
    return [f"{one[0].upper()}{one[1:]}" for one in not_evaluated(run)]


def is_grouped(run: Mapping[str, Any]) -> bool:
    """Whether groups of images were held out in an evaluation."""
    return any(one["scheme"] == SCHEME for one in run["evaluation"])


def headline(run: Mapping[str, Any], evaluations: Sequence[Evaluation]) -> list[Figure]:
    """The figures that matter most: accuracies, calibration and unknown images."""
    found = []
    for one in evaluations:
        name = f"accuracy on {counted(one.images, 'image')}, {one.scheme}"
        found.append(Figure(f"{one.accuracy:.1%}", name, _why(one, run)))
    if found:
        found.append(_calibration(evaluations[0]))
        # Without a threshold, no image is unknown.
        if run["classifier"].get("unknown_above") is not None:
            found.append(_unknown(evaluations))
    return found


def measured(scheme: str) -> str:
    """How the figures of an evaluation were measured."""
    if scheme == SCHEME:
        return f"Measured by {scheme}."
    side = side_of_scheme(scheme)
    if side is None:
        return f"Measured on the {scheme}."
    return f"Measured on the {'training' if side == TRAIN else side} images."


def _why(one: Evaluation, run: Mapping[str, Any]) -> str:
    text = _grouped(run) if one.scheme == SCHEME else _WHY.get(one.scheme, "")
    if identical := one.identical:
        text += (
            f" {identical:,} of these images {are(identical)} also in the training, byte for "
            "byte, which raises the figure."
        )
    if is_worse_than_frequencies(one.log_loss, one.prior_log_loss):
        text += (
            " Do not rely on the probabilities: their log loss is not smaller than that of always "
            "answering with the label frequencies of the training."
        )
    if unseen := one.unseen_images:
        text += (
            f" {counted(unseen, 'image')} with labels that have no training images {are(unseen)} "
            "counted as wrong."
        )
    return text.strip()


def _grouped(run: Mapping[str, Any]) -> str:
    about: Mapping[str, Any] = run["classifier"]
    by_rule: Mapping[str, int] = about.get("groups_by") or {}
    if ungrouped := about.get("ungrouped"):
        return (
            "Whole groups were held out of the training and then predicted. "
            f"{counted(ungrouped, 'training image')} without a group {are(ungrouped)} treated as "
            "separate groups: if they show the same objects as others, the figure is too high."
        )
    if not (blocks := by_rule.get("block")):
        return (
            "Whole groups, such as all photographs of one object, were held out of the training "
            "and then predicted: expect this accuracy for new objects."
        )
    the = "The" if len(by_rule) == 1 else f"For {counted(blocks, 'label')}, the"
    return (
        f"Whole groups were held out of the training and then predicted. {the} groups are only "
        "blocks of neighbouring files: if one object is in several blocks, the figure is too "
        "high. Set --group."
    )


def _calibration(one: Evaluation) -> Figure:
    return Figure(
        f"{one.calibration_error:.3f}",
        f"calibration error, {one.scheme}",
        "How far the confidence is from the share of right answers, on average: 0 is best, and "
        "0.05 means that “90%” is right about 85 or 95 times in a hundred.",
    )


def _unknown(evaluations: Sequence[Evaluation]) -> Figure:
    shares = "; ".join(f"{one.scheme}: {one.unknown:.1%}" for one in evaluations)
    held_out = ""
    if any(one.scheme == SCHEME for one in evaluations):
        held_out = (
            " In the cross-validation, the images are divided into folds, and the threshold for "
            "each fold comes from the others."
        )
    return Figure(
        f"{evaluations[-1].unknown:.1%}",
        f"unknown, {evaluations[-1].scheme}",
        "Images that are farther from every label than 99 of 100 held-out training images "
        f"({shares}).{held_out}",
    )


def table(evaluations: Sequence[Evaluation]) -> list[tuple[str, list[str]]]:
    """All figures of all evaluations: a name, and a value for each scheme."""
    shown = [one.shown() for one in evaluations]
    return [(name, [one[name] for one in shown]) for name in (shown[0] if shown else ())]
