"""Decides which of two similar images to keep, and describes the other one as a finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fruits.features.digest_keys import Keys, index_in
from fruits.quality.findings import Finding
from fruits.sources.naming import SIDES, TRAIN
from fruits.wording import are

COLUMNS = ["path", "label", "split", "sha256"]
"""The columns of a table of images."""


@dataclass(frozen=True)
class Image:
    """An image with its label and its side of the split.

    Attributes:
        path: The path of the image.
        label: The label; None if there is none.
        split: The side of the split; None if there is none.
        trained: Whether it is a training image of the model, and not an image of this run.
    """

    path: str
    label: str | None
    split: str | None
    trained: bool = False

    @property
    def side(self) -> int:
        """The place of the side in SIDES; -1 for a training image of the model.

        An image should not be a copy of an image on an earlier side.
        """
        if self.trained:
            return -1
        return SIDES.index(self.split) if self.split in SIDES else len(SIDES)

    @property
    def order(self) -> tuple[int, str]:
        """A key to sort by: of similar images, the one with the smallest key is kept."""
        return self.side, self.path

    def follows(self, other: Image) -> bool:
        """Whether the other image is on an earlier side, or the model was trained on it."""
        if other.trained or self.trained:
            return not self.trained
        if self.split not in SIDES or other.split not in SIDES:
            return False
        return self.side > other.side

    @classmethod
    def of(cls, row: dict[str, Any], trained: bool) -> Image:
        """The image of a row."""
        split = row["split"] or (TRAIN if trained else None)
        return cls(row["path"], row["label"], split, trained)


def images_by_content(
    images: pa.Table, trained: pa.Table | None, contents: Keys
) -> list[list[Image]]:
    """The images of each content, starting with the one that is kept.

    Args:
        images: A table with the :data:`COLUMNS`.
        trained: The training images of the model, with the same columns; None if they are the
            images of the run.
        contents: The sorted keys of the contents.
    """
    found: list[list[Image]] = [[] for _ in contents]
    for table, theirs in ((images, False), (trained, True)):
        if table is None:
            continue
        places = index_in(contents, table["sha256"])
        rows = np.flatnonzero(places >= 0)
        for place, row in zip(places[rows].tolist(), table.take(rows).to_pylist(), strict=True):
            found[place].append(Image.of(row, theirs))
    return [sorted(own, key=lambda one: one.order) for own in found]


def copy_finding(
    image: Image, other: Image, score: float, what: str, kind: str, more: int = 0
) -> Finding:
    """The finding that an image is a copy of another one.

    Args:
        image: The copy.
        other: The image that is kept.
        score: 1 if both have the same bytes, less if they only look the same.
        what: How the two are similar, such as "the same bytes as the other image".
        kind: The kind of the finding if both are on one side of the split.
        more: The number of further similar images.
    """
    follows = image.follows(other)
    reason = what
    if other.trained:
        reason += ", which the model was trained on"
    elif follows and other.split == TRAIN:
        reason += ", which is a training image, so the accuracy on it is too high"
    elif follows:
        reason += f", which is a {other.split} image, so two accuracies are measured with it"
    if image.label != other.label:
        reason += f"; the labels differ: {image.label or 'none'} and {other.label or 'none'}"
    if more:
        reason += f"; {more:,} more {are(more)} like it"
    return Finding(
        kind="split duplicate" if follows else kind,
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
    """Copies with another label first, then those of training images, then the most similar."""
    return sorted(
        findings,
        key=lambda one: (
            one.label == one.other_label,
            one.kind == "split duplicate" and one.other_split == "validation",
            *(-one.score, str(one.path)),
        ),
    )
