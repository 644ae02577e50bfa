"""The memory of the driver for the sums of labels, which limits the number of labels."""

from __future__ import annotations

import pyarrow.compute as pc

from fruits.classify.groups import FOLDS
from fruits.classify.transforms import TRANSFORMS
from fruits.errors import ConfigError
from fruits.runs.config import RunConfig
from fruits.sources.naming import training_side
from fruits.sources.parts import Parts
from fruits.sources.row_counts import COUNT, RowCounts
from fruits.wording import size

_SUMS = 100 * 10**6
"""The most bytes of the sums of labels that only serve to compare them."""

_MODELS = FOLDS + 3
"""Arrays of (labels, features): a model without each fold, and the means and the coefficients of
the classifier, and its centres."""


def label_memory(dimension: int) -> int:
    """The bytes of a label in moments: two words and the range of each feature, and objects."""
    return 32 * dimension + 1000


def most_labels(dimension: int) -> int:
    """The most labels whose own sums are kept; a task has two or three of such moments."""
    return _SUMS // label_memory(dimension)


def most_compared(components: int, sides: int) -> int:
    """The most labels that are compared between the sides of the split.

    Each of them has, on each side, a sum and a mean of its components, and objects.
    """
    return _SUMS // (sides * (16 * components + 700))


def labels_refusal(
    config: RunConfig, listing: Parts, dimension: int, memory: int
) -> ConfigError | None:
    """The error of a run with too many labels for its classifier; None if they may fit in memory.

    The driver has the exact sums of the labels for each transform, and their means in several
    models: with a label for each of a million images, hundreds of gigabytes.

    Args:
        config: The options.
        listing: The images, rows of :data:`fruits.sources.listing.LISTING`.
        dimension: The number of features.
        memory: The bytes of this machine or container.
    """
    if config.classifier == "none" or config.model:
        return None
    transforms = len(TRANSFORMS) if config.transform == "auto" else 1
    models = _MODELS * 8 * dimension
    if listing.num_rows * (transforms * label_memory(dimension) + models) <= memory:
        return None  # There are not more labels than images.
    from fruits.folds.scored_images import most_scored  # Imports much that only classifiers need.

    labels, images = _training_labels(listing)
    # The sums of a few images are float64.
    sums = label_memory(dimension) if images > most_scored(max(labels, 1)) else 8 * dimension
    least = transforms * sums + models
    if labels * least <= memory:
        return None
    return ConfigError(
        f"label: wanted at most {memory // least:,} labels for a classifier of {dimension:,} "
        f"features; found {labels:,}, whose sums take {size(labels * least)} at least, and this "
        f"machine, or its container, has {size(memory)}: use fewer, broader labels (set label to "
        "grandparent or to an expression), or set classifier to none"
    )


def _training_labels(listing: Parts) -> tuple[int, int]:
    """The number of labels of the images that a classifier is fitted to, and of these images."""
    counted = RowCounts("split", "label")
    for part in listing:
        counted.add(part)
    counts = counted.table()
    sides = counts.group_by("split").aggregate([(COUNT, "sum")])
    side = training_side(dict(zip(*sides.to_pydict().values(), strict=True)))
    wanted = pc.is_valid(pc.field("label"))
    own = counts.filter(wanted if side is None else wanted & (pc.field("split") == side))
    return pc.count_distinct(own["label"]).as_py(), pc.sum(own[COUNT]).as_py() or 0
