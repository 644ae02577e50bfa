"""Reproducible pictures with edges, gradients and noise."""

import numpy as np
from encoded import encode
from PIL import Image

# Width and height: wide, tall, odd, near the size of the input, smaller, and a strip.
SIZES = [(300, 200), (200, 301), (97, 131), (640, 483), (225, 224), (33, 64), (1200, 75)]


def drawn(width: int, height: int) -> np.ndarray:
    """uint8 RGB of shape (height, width, 3)."""
    # NumPy guarantees that the numbers of this generator never change.
    random = np.random.RandomState(width * 10_000 + height)
    coarse = random.randint(0, 256, (height // 16 + 2, width // 16 + 2, 3))
    blocks = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    ramp = (np.arange(height)[:, None] * 3 + np.arange(width)[None, :] * 2) % 97
    noise = random.randint(-12, 13, (height, width, 3))
    return np.clip(blocks * 3 // 4 + ramp[..., None] // 2 + noise, 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    return encode(Image.fromarray(pixels))


def places(shape: tuple[int, ...], count: int = 1000) -> np.ndarray:
    """The indices of the values that are compared in an array of this shape."""
    return np.random.RandomState(0).randint(0, int(np.prod(shape)), count)


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, relative to the largest wanted value."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())
