"""Decodes JPEG at the wanted scale, and rejects files with missing pixels."""

import io

from PIL import Image, JpegImagePlugin

from fruits.images.jpeg_cost import check_cost
from fruits.images.jpeg_data import require_data
from fruits.images.jpeg_header import Header, read_header
from fruits.images.size_limits import RejectedImage

# Pillow parses and keeps all segments of a header; larger headers are reduced before.
_MANY_SEGMENTS = 100
_MUCH_HEADER = 1 << 20

_ARITHMETIC = (0xC9, 0xCA)
_BLACK = (0, (0, 0, 0), (0, 0, 0, 0))
_END = b"\xff\xd9"


def load(content: bytes, side: int | None) -> Image.Image:
    """Decodes a JPEG file.

    Args:
        content: the bytes of the file.
        side: the smallest scale that keeps this many pixels is used; None for full scale.

    Raises:
        RejectedImage: the file is too large, truncated, damaged, or has an unsupported layout.
    """
    header = read_header(content)
    scale = 1
    if side is not None:
        # The same choice as that of Pillow's `draft`.
        ratio = min(header.width // side, header.height // side)
        scale = next(s for s in (8, 4, 2, 1) if ratio >= s or s == 1)
    check_cost(content, header, scale)
    content = require_data(content, header)
    if header.segments > _MANY_SEGMENTS or header.scan > _MUCH_HEADER:
        image = _load(_slimmed(content, header), header, side, scale)
        image.info |= header.metadata
        return image
    return _load(content, header, side, scale)


def _load(content: bytes, header: Header, side: int | None, scale: int) -> Image.Image:
    try:
        return _decode(content, header, side, scale)
    except OSError as error:
        if "truncated" not in str(error):
            if header.process in _ARITHMETIC:
                # The decoder may be built without it, and then raises an unspecific error.
                raise RejectedImage(
                    "unsupported layout: arithmetic-coded JPEG that the decoder does not read"
                ) from error
            raise
    return _completed(content, side)


def _decode(content: bytes, header: Header, side: int | None, scale: int) -> Image.Image:
    image = _open(content, side)
    # When all bytes before the end marker were read, all rows but the last ones must be decoded.
    # This detects an end marker that was written after only a part of the data.
    end = content.rfind(_END) if header.by_rows else -1
    row = image.height - 1 - 24 * header.components[0][2] // scale
    if end < 0 or row < 0:
        image.load()
        return image
    suspicious = False
    rest = [content[end:], content[:end]]

    def read(_: int) -> bytes:
        nonlocal suspicious
        if len(rest) == 1:
            # Rows that are not decoded yet are black.
            core, middle = image.im, image.width // 2
            suspicious = (
                core.getpixel((middle, row)) in _BLACK and core.getpixel((0, row)) in _BLACK
            )
        return rest.pop() if rest else b""

    image.load_read = read  # type: ignore[assignment, method-assign]
    image.load()
    return _completed(content[:end], side) if suspicious else image


def _open(content: bytes, side: int | None) -> JpegImagePlugin.JpegImageFile:
    # Not Image.open, which would search for more pictures (MPO).
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
    if side is not None:
        image.draft(None, (side, side))
    return image


def _slimmed(content: bytes, header: Header) -> bytes:
    """The file without comments and metadata."""
    parts = [content[begin:end] for begin, end in header.needed[:-1]]
    return b"".join([b"\xff\xd8", *parts, content[header.scan :]])


def _completed(content: bytes, side: int | None) -> Image.Image:
    """The pixels of a file without an end marker, if only the marker is missing.

    It decodes the file twice with different padding: if data are missing, the pixels differ.
    """
    content = content.removesuffix(b"\xff")
    zeros, ones = (_open(content + tail + _END, side) for tail in (b"", 64 * b"\xff\0"))
    zeros.load()
    ones.load()
    if zeros.tobytes() != ones.tobytes():
        raise RejectedImage("damaged: truncated: pixels of the JPEG are missing")
    return zeros
