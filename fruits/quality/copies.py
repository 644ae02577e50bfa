"""Which of two images that are alike stays, and in which words the other one is reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fruits.quality.findings import Finding

COLUMNS = ["path", "label", "split", "sha256"]
"""What is known of each image."""

SIDES = ("train", "validation", "test")
"""Sides of the split: an image of a later one must not be like an image of an earlier one."""


@dataclass(frozen=True)
class Image:
    """An image by its path, its label and its side of the split.

    Attributes:
        path: of the image.
        label: None where it has none.
        split: None where it is on no side.
        trained: it is none of the images looked at: the model was trained on it.
    """

    path: str
    label: str | None
    split: str | None
    trained: bool = False

    @property
    def order(self) -> tuple[int, str]:
        """Of images that are alike, the one with the smallest stays."""
        if self.trained:
            return -1, self.path
        return SIDES.index(self.split) if self.split in SIDES else len(SIDES), self.path

    def leaks_from(self, other: Image) -> bool:
        """Whether this one tests what is learned from the other one."""
        if other.trained or self.trained:
            return not self.trained
        if self.split not in SIDES or other.split not in SIDES:
            return False
        return SIDES.index(self.split) > SIDES.index(other.split)

    @classmethod
    def of(cls, row: dict[str, Any], trained: bool) -> Image:
        """An image by its row."""
        split = row["split"] or ("train" if trained else None)
        return cls(row["path"], row["label"], split, trained)


def images_by_content(
    images: pa.Table, trained: pa.Table | None, contents: Iterable[str]
) -> Iterator[list[Image]]:
    """The images of each of some contents, those that stay first.

    Args:
        images: a table with the :data:`COLUMNS`.
        trained: the same of images that a model was trained on; None where there are no others.
        contents: SHA-256 of each.
    """
    found: dict[str, list[Image]] = {content: [] for content in contents}
    wanted = pa.array(found, pa.string())
    for table, theirs in ((images, False), (trained, True)):
        if table is None:
            continue
        for row in table.filter(pc.is_in(table["sha256"], wanted)).to_pylist():
            found[row["sha256"]].append(Image.of(row, theirs))
    for own in found.values():
        yield sorted(own, key=lambda one: one.order)


def copy_finding(
    image: Image, other: Image, score: float, what: str, kind: str, more: int = 0
) -> Finding:
    """An image that is a copy of another one, which stays.

    Args:
        image: the copy.
        other: the image that stays.
        score: 1 where both have the same bytes, less where they only look alike.
        what: how the two are alike: the image is or has this.
        kind: of a finding on one side of the split.
        more: other images that are as much alike.
    """
    leaks = image.leaks_from(other)
    reason = what
    if other.trained:
        reason += ", which the model was trained on"
    elif leaks:
        side = "training" if other.split == "train" else other.split
        reason += f", which is a {side} image: a test on it shows what was memorised"
    if image.label != other.label:
        reason += f"; the labels differ: {image.label or 'none'} and {other.label or 'none'}"
    if more:
        reason += f"; {more:,} more are like it"
    return Finding(
        kind="split duplicate" if leaks else kind,
        path=image.path,
        label=image.label,
        split=image.split,
        other=other.path,
        other_label=other.label,
        other_split=other.split,
        score=score,
        reason=reason,
    )


def most_serious_first(findings: list[Finding]) -> list[Finding]:
    """Copies with another label first, then the most similar ones."""
    return sorted(
        findings, key=lambda one: (one.label == one.other_label, -one.score, str(one.path))
    )
