"""The colours of labels on the map: those of the plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def palette(labels: Sequence[str], codes: NDArray[np.uint32]) -> dict[str, Any]:
    """Colours of labels, and their groups for the legend.

    Args:
        labels: c of them.
        codes: (n,) places of the images' labels; those of images without a label are above c.

    Returns:
        ``labels``: c colours; ``groups``: name, colour and members (places of labels) of each.
    """
    # Matplotlib takes a second to import; a run has done so by now, in the background.
    from matplotlib.colors import to_hex

    from fruits.plots.palette import group_labels

    known = codes[codes < len(labels)]
    groups = group_labels(labels, np.bincount(known, minlength=len(labels)))
    colours = [""] * len(labels)
    for group in groups:
        for number, place in enumerate(group.members):
            colours[place] = to_hex(group.shade(number))
    return {
        "labels": colours,
        "groups": [
            {"name": group.name, "colour": to_hex(group.colour), "members": list(group.members)}
            for group in groups
        ],
    }
