"""Checks that the compressed data of a PNG file are complete; Pillow decodes missing rows black."""

import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from fruits.images.size_limits import RejectedImage

# The passes of Adam7: first row, first column, step of rows, step of columns.
_PASSES = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
_PIECE = 1 << 20


def require_complete(image: Image.Image, content: bytes, bits: int, interlaced: bool) -> None:
    """Rejects a file with too few compressed data for its pixels.

    Args:
        image: the decoded image; rows without data are zero.
        content: the bytes of the file.
        bits: the bits of a pixel.
        interlaced: whether the file is interlaced with Adam7.

    Raises:
        RejectedImage: pixels are missing.
    """
    # The row that is stored last; in interlaced files, it is the last odd row.
    last = image.height - 1
    last -= int(interlaced and last > 0 and last % 2 == 0)
    if np.asarray(image.crop((0, last, image.width, last + 1))).any():
        return
    wanted, found = _wanted(*image.size, bits, interlaced), 0
    for length in _inflated(content):
        found += length
        if found >= wanted:
            return
    raise RejectedImage(f"damaged: truncated: PNG with {found} of {wanted} bytes of pixels")


def _wanted(width: int, height: int, bits: int, interlaced: bool) -> int:
    parts = _PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for row, column, down, across in parts:
        rows, columns = -(-(height - row) // down), -(-(width - column) // across)
        if rows > 0 and columns > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _inflated(content: bytes) -> Iterator[int]:
    """Yields the lengths of pieces of the decompressed data."""
    stream = zlib.decompressobj()
    for data in _data(content):
        rest = data
        while rest and not stream.eof:
            yield len(stream.decompress(rest, _PIECE))
            rest = stream.unconsumed_tail
    yield len(stream.flush())


def _data(content: bytes) -> Iterator[bytes]:
    """Yields the contents of the chunks with pixel data."""
    place = 8
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4])
        name = content[place + 4 : place + 8]
        if name == b"IDAT":
            yield content[place + 8 : end]
        if name == b"IEND":
            return
        place = end + 4
