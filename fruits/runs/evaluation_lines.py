"""The lines of the terminal about the classifier of a run and its evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fruits.classify.evaluate import is_worse_than_frequencies
from fruits.classify.train import SCHEME
from fruits.classify.unevaluated import not_evaluated
from fruits.wording import are, counted, have


def evaluation_lines(report: Mapping[str, Any]) -> list[str]:
    """A line for each evaluation and each missing one, or the reason why there is no classifier.

    Outputs of earlier versions have no line.

    Args:
        report: The content of run.json.
    """
    about: Mapping[str, Any] = report.get("classifier") or {}
    if reason := about.get("skipped"):
        return [f"  no classifier: {reason}"]
    evaluations = report.get("evaluation") or ()
    lines = [_evaluation_line(one, about) for one in evaluations]
    lines += [
        f"  the log loss ({one['scheme']}) is not smaller than that of always answering with the "
        "label frequencies of the training: do not rely on the probabilities"
        for one in evaluations
        if is_worse_than_frequencies(one["log_loss"], one.get("prior_log_loss"))
    ]
    lines += [f"  {reason}" for reason in not_evaluated(report)]
    if unconverged := about.get("unconverged"):
        lines.append(
            f"  the softmax regression did not converge in {unconverged:,} of its fits: its "
            "accuracy may be too low; compare it with the classifier lda"
        )
    ungrouped = about.get("ungrouped")
    if ungrouped and SCHEME in {one["scheme"] for one in evaluations}:
        lines.append(
            f"  {ungrouped:,} of {about['training_images']:,} training images "
            f"{have(ungrouped)} no group; each such image is a separate group: give them groups if "
            "they show the same objects"
        )
    return lines


def _evaluation_line(one: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    line = (
        f"  accuracy {one['accuracy']:.1%} on {counted(one['images'], 'image')}, {one['scheme']}"
        f" (most frequent label: {one['most_frequent']:.1%}"
    )
    if (nearest := one["nearest_mean"]) is not None:
        line += f", nearest mean: {nearest:.1%}"
    line += f"); mean over the labels {one['balanced_accuracy']:.1%}, top 5 {one['top5']:.1%}"
    if (loss := one["log_loss"]) is not None:
        line += f", log loss {loss:.3f}"
        if (prior := one.get("prior_log_loss")) is not None:
            line += f" (label frequencies: {prior:.3f})"
    line += f", calibration error {one['calibration_error']:.3f}"
    # Without a threshold, no image is unknown.
    if about.get("unknown_above") is not None:
        line += f", unknown {one['unknown']:.1%}"
    if one["scheme"] == SCHEME and (groups := about.get("groups")):
        line += f"; {groups}"
    identical = one["identical"]
    if identical:
        line += f"; {identical:,} {are(identical)} equal to training images, byte for byte"
    elif identical is None and one["scheme"] != SCHEME:
        line += "; it is not known how many are equal to training images"
    if unseen := one["unseen_labels"]:
        names = ", ".join(f"{label} ({count:,})" for label, count in list(unseen.items())[:3])
        others = len(unseen) - 3 + one.get("left_out", {}).get("unseen_labels", 0)
        more = f" and {others:,} more" if others > 0 else ""
        line += f"; labels without training images count as wrong: {names}{more}"
    return line
