"""Decodes PBM, PGM and PPM with any number of levels, as binary or as text."""

import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fruits.images.size_limits import RejectedImage, check_size

# The most bytes of a header with its comments, and the most comments of a text file.
MAX_HEADER = 64 << 10
MAX_COMMENTS = 10_000
_TOKEN = re.compile(rb"(?:[\s]|#[^\r\n]*[\r\n])*([0-9]{1,10})(?=[\s#])")
_COMMENT = re.compile(rb"#[^\r\n]*")


def load(content: bytes) -> Image.Image:
    """Decodes a netpbm file.

    Raises:
        RejectedImage: the file is too large or damaged.
    """
    kind = content[1] - ord("0")
    bitmap, text = kind in (1, 4), kind <= 3
    samples = 3 if kind in (3, 6) else 1
    numbers, place = _header(content, 2 if bitmap else 3)
    width, height = numbers[:2]
    maximum = 1 if bitmap else numbers[2]
    check_size(width, height)
    if not 0 < maximum < 65536:
        raise RejectedImage(f"damaged: netpbm picture with a maximum of {maximum}")
    count = width * height * samples
    if text:
        values = _text(content[place:], count, bitmap)
    elif bitmap:
        stride = (width + 7) // 8
        data = _data(content, place, stride * height)
        rows = np.unpackbits(data.reshape(height, stride), axis=1)
        values = rows[:, :width].reshape(-1)
    elif maximum < 256:
        values = _data(content, place, count)
    else:
        values = _data(content, place, 2 * count).view(">u2")
    if maximum not in (255, 65535) and values.max() > maximum:
        raise RejectedImage(f"damaged: netpbm picture with samples above its maximum, {maximum}")
    pixels = np.where(values == 0, np.uint8(255), np.uint8(0))
    if not bitmap:
        pixels = eight_bits(values, maximum)
    shape = (height, width, 3) if samples == 3 else (height, width)
    return Image.fromarray(np.ascontiguousarray(pixels.reshape(shape)))


def eight_bits(values: NDArray[np.integer], maximum: int) -> NDArray[np.uint8]:
    """Converts samples from 0 to ``maximum`` into samples from 0 to 255.

    Samples with exactly 9 to 16 bits keep their eight high bits; others are scaled and rounded.
    """
    if maximum == 255:
        return values.astype(np.uint8, copy=False)
    if maximum > 255 and maximum & (maximum + 1) == 0:
        return (values >> (maximum.bit_length() - 8)).astype(np.uint8)
    table = (np.arange(maximum + 1, dtype=np.int64) * 255 + maximum // 2) // maximum
    scaled: NDArray[np.uint8] = table.astype(np.uint8)[values]
    return scaled


def _header(content: bytes, count: int) -> tuple[list[int], int]:
    """The numbers of the header, and the offset of the pixels."""
    numbers: list[int] = []
    place = 2
    while len(numbers) < count:
        token = _TOKEN.match(content, place, MAX_HEADER)
        if token is None:
            if len(content) > MAX_HEADER and content[2:3] in b" \t\r\n#":
                raise RejectedImage(
                    f"too large: netpbm picture with a header of more than {MAX_HEADER} bytes"
                )
            raise RejectedImage("damaged: netpbm picture whose header is not complete")
        numbers.append(int(token[1]))
        place = token.end()
    if content[place : place + 1] == b"#":
        place = max(content.find(b"\n", place), place)
    return numbers, place + 1


def _data(content: bytes, place: int, length: int) -> NDArray[np.uint8]:
    found = len(content) - place
    if found < length:
        raise RejectedImage(
            f"damaged: truncated: netpbm picture with {max(0, found)} of {length} bytes of pixels"
        )
    return np.frombuffer(content, np.uint8, length, place)


def _text(body: bytes, count: int, bitmap: bool) -> NDArray[np.integer]:
    """The samples of a text file."""
    if b"#" in body:
        if body.count(b"#") > MAX_COMMENTS:
            raise RejectedImage(f"too large: netpbm picture with more than {MAX_COMMENTS} comments")
        body = _COMMENT.sub(b"", body)
    letters = np.frombuffer(body, np.uint8)
    digits = (letters >= ord("0")) & (letters <= ord("9"))
    spaces = (letters == 32) | ((letters >= 9) & (letters <= 13))
    if not (digits | spaces).all():
        raise RejectedImage("damaged: netpbm picture with letters among its numbers")
    if bitmap:
        # Samples of bitmaps need no space between them.
        values = letters[digits] - ord("0")
    else:
        starts = digits & ~np.concatenate([[False], digits[:-1]])
        if np.count_nonzero(starts) * 10 < np.count_nonzero(digits):
            raise RejectedImage("damaged: netpbm picture with numbers that are too long")
        values = np.fromstring(body.decode("ascii"), np.int64, sep=" ")
    if len(values) < count:
        raise RejectedImage(
            f"damaged: truncated: netpbm picture with {len(values)} of {count} samples"
        )
    values = values[:count]
    if values.max(initial=0) > 65535 or (bitmap and values.max(initial=0) > 1):
        raise RejectedImage("damaged: netpbm picture with samples above its maximum")
    return values
