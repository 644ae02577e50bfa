"""Says which evaluations a run does not have, which images need attention, and why.

All of it is in the content of run.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fruits.classify.rows import scheme_of
from fruits.classify.train import SCHEME
from fruits.sources.naming import TEST_SPLITS, TRAIN
from fruits.wording import are, counted, have


def uses_model(report: Mapping[str, Any]) -> bool:
    """Whether a run used the model of another run, which may know any of its images.

    Args:
        report: The content of run.json.
    """
    return bool(report["parameters"]["model"])


def knows_no_label(report: Mapping[str, Any]) -> bool:
    """Whether a run predicted images with a model that knows none of their labels.

    Their labels are then often the name of a folder, and no prediction is right or wrong.

    Args:
        report: The content of run.json.
    """
    about: Mapping[str, Any] = report.get("classifier") or {}
    has_classifier = bool(about) and not about.get("skipped")
    return has_classifier and uses_model(report) and not report.get("evaluation")


def not_evaluated(report: Mapping[str, Any]) -> list[str]:
    """The reasons for missing evaluations, and images that are left out or have an odd label.

    They are sentences without a capital and a full stop.

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
    given = uses_model(report)
    if knows_no_label(report):
        return ["the classifier was not evaluated: no image has a label that the model knows"]
    if not given and SCHEME not in there:
        found.append(
            f"the classifier was not evaluated by {SCHEME}: no label has images that can be held "
            "out, so its confidence is not calibrated, and no image is unknown"
        )
    held_out = [side for side in TEST_SPLITS if sides.get(side)]
    if given or split.get("fitted_to") == TRAIN:
        found += [
            f"{scheme_of(side)} ({counted(sides[side], 'image')}) was not evaluated: no image has "
            "a label of the training images"
            for side in held_out
            if scheme_of(side) not in there
        ]
    elif held_out and len(sides) > 1:
        remedy = "the folder of the others" if sides.get("none") else "one of these folders"
        found.append(
            "no image is in train, so the model was fitted to all images, including "
            f"those of {' and '.join(held_out)}: name {remedy} train, or set split"
        )
    elif held_out:
        found.append(
            f"all images are in {held_out[0]}, so the model was fitted to them: add "
            "images in a folder train, or set split to none"
        )
    elif list(sides) == [TRAIN]:
        found.append(
            "all images are in train, so there is no evaluation on a split: add "
            "images in a folder test, or set split to none"
        )
    found += _left_out(split, given)
    for label, count in (about.get("loose") or {}).items():
        images = f"{counted(count, 'image')} {are(count)}"
        found.append(f"{images} directly in the folder of images, so the label is {label!r}")
    return found


def _left_out(split: Mapping[str, Any], is_given: bool) -> list[str]:
    """The numbers of images that were only predicted, with the reasons.

    Args:
        split: How the images were divided, from run.json. Outputs of earlier versions do not say
            how many have a label.
        is_given: Whether the model is that of a finished run.
    """
    labelled: Mapping[str, int] | None = split.get("labelled")
    if labelled is None:
        return []
    used = "not evaluated" if is_given else "used neither for training nor for evaluation"
    found = []
    aside = labelled.get("none", 0) if split["fitted_to"] == TRAIN and not is_given else 0
    if aside:
        images, them = counted(aside, "labelled image"), "it" if aside == 1 else "them"
        found.append(
            f"{images} {are(aside)} in no part of the split: predicted, but {used}; put {them} "
            "into a folder train, or set split to none"
        )
    if without := sum(split["images"].values()) - sum(labelled.values()):
        found.append(f"{counted(without, 'image')} {have(without)} no label: predicted, but {used}")
    return found
