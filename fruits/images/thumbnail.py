"""Makes thumbnails from the pixels for the network, which costs very little."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fruits.images import formats, png
from fruits.images.exif import orientation
from fruits.images.jpeg_header import read_header
from fruits.images.size_limits import RejectedImage

# The longest side has at least this many pixels, and less than twice as many.
SIDE = 72
_LEAST = 8
# Orientations that swap width and height.
_LYING = (5, 6, 7, 8)


def thumbnail(pixels: NDArray[np.uint8], content: bytes) -> bytes:
    """A small JPEG picture of an image.

    Args:
        pixels: uint8 RGB of shape (side, side, 3), from :func:`fruits.images.decode.decode`.
        content: the image file, whose header has the proportions. They are kept for JPEG and PNG;
            thumbnails of other formats are squares.

    Returns:
        A file of 1 to 2 kB.
    """
    step = max(1, len(pixels) // SIDE)
    # Only some rows, and in them the mean of some pixels: using all rows would cost 50 % more.
    rows = np.ascontiguousarray(pixels[step // 2 :: step])
    small = Image.fromarray(rows).reduce((step, 1))
    size = _fitted(max(small.size), *_proportions(content))
    if size != small.size:
        small = small.resize(size, Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG")
    return buffer.getvalue()


def _fitted(side: int, width: int, height: int) -> tuple[int, int]:
    scale = side / max(width, height)
    return max(_LEAST, round(scale * width)), max(_LEAST, round(scale * height))


def _proportions(content: bytes) -> tuple[int, int]:
    """Width and height, or two numbers with the same ratio."""
    kind = formats.format_of(content)
    try:
        if kind == "PNG":
            width, height = (int.from_bytes(content[n : n + 4]) for n in (16, 20))
            info = png.metadata(content)
        elif kind == "JPEG":
            header = read_header(content)
            width, height, info = header.width, header.height, header.metadata
        else:
            return 1, 1
    except RejectedImage:
        return 1, 1
    if orientation(info) in _LYING:
        width, height = height, width
    return max(1, width), max(1, height)
