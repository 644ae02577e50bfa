"""Decodes PNG with correct transparency at every depth; Pillow drops bits before comparing."""

import functools
import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFile

from fruits.images.png_data import require_complete
from fruits.images.size_limits import RejectedImage, check_size

# The most chunks of a file: Pillow's loop needs some microseconds for each.
MAX_CHUNKS = 1 << 18
# Pillow decompresses and keeps all metadata; files with more get their metadata removed.
_MUCH_METADATA = 1 << 20
_MANY_CHUNKS = 200

# The length of the signature and the first chunk; the last chunk.
_HEADER, _END = 33, b"\0\0\0\0IEND\xaeB`\x82"

_METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# By colour type: grey, RGB, palette, grey with alpha, RGB with alpha.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def load(content: bytes) -> Image.Image:
    """Decodes a PNG file to 8 bits, with transparency.

    Raises:
        RejectedImage: the file is too large or damaged.
    """
    if len(content) < _HEADER or content[12:16] != b"IHDR":
        raise RejectedImage("damaged: truncated: PNG without a header")
    width, height, depth, kind = struct.unpack_from(">IIBB", content, 16)
    check_size(width, height)
    if depth not in _DEPTHS.get(kind, ()):
        raise RejectedImage(f"damaged: PNG of colour type {kind} with {depth} bits per sample")
    key, content = _scan_chunks(content)
    image = _open(content)
    image.load()
    require_complete(image, content, depth * _SAMPLES[kind], interlaced=content[28] == 1)
    if kind == 3:
        if (image.getextrema()[1]) * 3 >= len(image.palette.palette):  # type: ignore
            raise RejectedImage("damaged: PNG with pixels that its palette lacks")
    elif key is not None:
        return _with_key(image, content, key, depth, kind)
    return high_bits(image) if image.mode.startswith("I") else image


def metadata(content: bytes) -> dict[str | tuple[int, int], Any]:
    """EXIF, XMP and texts of a PNG file that can be decoded, as in Pillow's `info`.

    Raises:
        RejectedImage: the file is too large.
    """
    _, content = _scan_chunks(content)
    found = [content[place:end] for name, place, end in _chunks(content) if name in _METADATA]
    if not found:
        return {}
    try:
        # Without pixels, Pillow reads all of them at once, also those behind the pixels.
        return _open(b"".join([content[:_HEADER], *found, _END])).info
    except (OSError, ValueError):
        return {}  # One of them is damaged.


def high_bits(image: Image.Image) -> Image.Image:
    """The eight high bits of 16-bit grey."""
    high = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    high.info = image.info
    return high


def _open(content: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(content), formats=("PNG",))


def _scan_chunks(content: bytes) -> tuple[bytes | None, bytes]:
    """The content of the chunk "tRNS", and the file, without metadata if these are large."""
    key = None
    needed = [(0, 8)]
    metadata = others = 0
    for count, (name, place, end) in enumerate(_chunks(content), 1):
        if count > MAX_CHUNKS:
            raise RejectedImage(f"too large: PNG of more than {MAX_CHUNKS} chunks")
        if name in _PIXELS or (name == b"eXIf" and end - place < 65_536):
            needed.append((place, end))
            if name == b"tRNS":
                key = content[place + 8 : end - 4]
        else:
            others += 1
            metadata += end - place
    if others > _MANY_CHUNKS or metadata > _MUCH_METADATA:
        content = b"".join(content[begin:end] for begin, end in needed)
    return key, content


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields the name, the begin and the end of each chunk."""
    place, name = 8, b""
    while place + 12 <= len(content) and name != b"IEND":
        end = place + 12 + int.from_bytes(content[place : place + 4])
        name = content[place + 4 : place + 8]
        yield name, place, end
        place = end


def _with_key(image: Image.Image, content: bytes, key: bytes, depth: int, kind: int) -> Image.Image:
    """Makes the pixels transparent that have exactly the colour of "tRNS"."""
    samples = 1 if kind == 0 else 3
    if kind in (4, 6) or len(key) < 2 * samples:
        raise RejectedImage("damaged: PNG with transparency that does not fit its colour type")
    colour = [value & ((1 << depth) - 1) for value in struct.unpack_from(f">{samples}H", key)]
    image.info.pop("transparency", None)
    if kind == 0 and depth == 16:
        transparent = Image.fromarray(np.where(np.asarray(image) == colour[0], 255, 0).astype("u1"))
        image = high_bits(image)
    elif kind == 0:
        image = image.convert("L")
        transparent = _equal(image, [colour[0] * (255 // ((1 << depth) - 1))])
    else:
        transparent = _equal(image, [value >> (depth - 8) for value in colour])
        if depth == 16:
            # Pillow keeps the high bytes; with the other byte order, it keeps the low bytes.
            low = _open(content)
            low.tile = [low.tile[0]._replace(args="RGB;16L")]
            low.load()
            equal = _equal(low, [value & 255 for value in colour])
            transparent = ImageChops.darker(transparent, equal)
    image = image.convert("RGBA")
    image.putalpha(ImageChops.invert(transparent))
    return image


def _equal(image: Image.Image, colour: list[int]) -> Image.Image:
    """A mask: 255 where the image has exactly this colour, otherwise 0."""
    masks = [
        band.point([255 * (level == value) for level in range(256)])
        for band, value in zip(image.split(), colour, strict=True)
    ]
    return functools.reduce(ImageChops.darker, masks)
