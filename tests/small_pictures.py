"""Draws small, different pictures."""

from pathlib import Path

import numpy as np
from PIL import Image


def draw_pictures(root: Path, labels: dict[str, int], seed: int = 0) -> Path:
    """Writes the given number of JPEG pictures for each label, in folders by label.

    Returns:
        ``root``.
    """
    rng = np.random.default_rng(seed)
    for label, count in labels.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
            picture = Image.fromarray(coarse).resize((100, 100), Image.Resampling.BICUBIC)
            picture.save(root / label / f"{number}_100.jpg", quality=90)
    return root
