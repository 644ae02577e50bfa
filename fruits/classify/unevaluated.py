"""Says which evaluations a run does not have, and why, from the content of its run.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fruits.classify.rows import scheme_of
from fruits.classify.train import SCHEME
from fruits.sources.naming import HELD_OUT


def not_evaluated(report: Mapping[str, Any]) -> list[str]:
    """The reasons for missing evaluations, as sentences without a capital and a full stop.

    Args:
        report: The content of run.json. Outputs of earlier versions have less.

    Returns:
        The reasons; none for a run without a classifier.
    """
    about: Mapping[str, Any] = report.get("classifier") or {}
    if not about or about.get("skipped"):
        return []
    split = report.get("split") or {}
    sides: Mapping[str, int] = split.get("images") or {}
    there = {one["scheme"] for one in report.get("evaluation") or ()}
    found = []
    if report["parameters"].get("model"):
        if not there:
            return ["the classifier was not evaluated: no image has a label that the model knows"]
    elif SCHEME not in there:
        found.append(
            f"the classifier was not evaluated by {SCHEME}: no label has images that can be held "
            "out, so its confidence is not calibrated, and no image is unknown"
        )
    held_out = [side for side in HELD_OUT if sides.get(side)]
    if report["parameters"].get("model") or split.get("fitted_to") == "train":
        found += [
            f"{scheme_of(side)}: none of its {sides[side]:,} images has a label of the training "
            "images, so they were not evaluated"
            for side in held_out
            if scheme_of(side) not in there
        ]
    elif held_out and len(sides) > 1:
        remedy = "the folder of the others" if sides.get("none") else "one of these folders"
        found.append(
            "no image is on the training side, so the model was fitted to all images, including "
            f"those of {' and '.join(held_out)}: name {remedy} train, or set split"
        )
    return found
