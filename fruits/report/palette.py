"""The colours of labels on the map, the same as in the plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def palette(labels: Sequence[str], codes: NDArray[np.uint32]) -> dict[str, Any]:
    """The colours of labels, and their groups for the legend.

    Args:
        labels: The c labels.
        codes: The indices of the images' labels, (n,). Images without a label have a larger code.

    Returns:
        ``labels``, the c colours; ``marks``, c numbers that differ for labels of one colour; and
        ``groups``, the name, colour and members (indices of labels) of each group.
    """
    # This import takes a second. A run does it earlier, in the background.
    from matplotlib.colors import to_hex

    from fruits.plots.palette import MARKERS, group_labels

    known = codes[codes < len(labels)]
    groups = group_labels(labels, np.bincount(known, minlength=len(labels)))
    colours, marks = [""] * len(labels), [0] * len(labels)
    for group in groups:
        for number, place in enumerate(group.members):
            colours[place] = to_hex(group.shade(number))
            marks[place] = number % len(MARKERS)
    return {
        "labels": colours,
        "marks": marks,
        "groups": [
            {"name": group.name, "colour": to_hex(group.colour), "members": list(group.members)}
            for group in groups
        ],
    }
