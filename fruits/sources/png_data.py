"""Whether the compressed data of a PNG file suffice: a decoder takes what ends early for black."""

import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from fruits.sources.limits import RejectedImage

# Of Adam7: first row, first column, step of rows, step of columns.
_PASSES = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
_PIECE = 1 << 20


def require_complete(image: Image.Image, content: bytes, bits: int, interlaced: bool) -> None:
    """Refuses a file whose data end before its pixels do.

    Args:
        image: what was decoded: rows that the data do not reach are zero.
        content: of the file.
        bits: of a pixel.
        interlaced: by Adam7.

    Raises:
        RejectedImage: pixels are missing.
    """
    # The row that comes last; of interlaced files, the last odd one.
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
    """Lengths of the pieces of the inflated data."""
    stream = zlib.decompressobj()
    for data in _data(content):
        rest = data
        while rest and not stream.eof:
            yield len(stream.decompress(rest, _PIECE))
            rest = stream.unconsumed_tail
    yield len(stream.flush())


def _data(content: bytes) -> Iterator[bytes]:
    """The contents of the chunks with data."""
    place = 8
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4])
        name = content[place + 4 : place + 8]
        if name == b"IDAT":
            yield content[place + 8 : end]
        if name == b"IEND":
            return
        place = end + 4
