"""Decodes WebP, and checks its size before the decoder allocates a canvas."""

import io

from PIL import Image

from fruits.images.size_limits import RejectedImage, check_size

MAX_CHUNKS = 1 << 16


def load(content: bytes) -> Image.Image:
    """Decodes a WebP file, or its first frame if there are several.

    Raises:
        RejectedImage: the file is too large or damaged.
    """
    wanted = int.from_bytes(content[4:8], "little") + 8
    if wanted > len(content) + 1:  # Some programs leave out the last padding.
        raise RejectedImage(f"damaged: truncated: WebP with {len(content)} of {wanted} bytes")
    chunks = 0
    place = 12
    while place + 8 <= min(wanted, len(content)):
        name = content[place : place + 4]
        length = int.from_bytes(content[place + 4 : place + 8], "little")
        body = content[place + 8 : place + 24]
        if name == b"ANMF" and len(body) >= 12:
            check_size(_number(body[6:9]) + 1, _number(body[9:12]) + 1)
            place += 24
            continue
        if name == b"VP8X" and len(body) >= 10:
            check_size(_number(body[4:7]) + 1, _number(body[7:10]) + 1)
        elif name == b"VP8 " and len(body) >= 10:
            check_size(_number(body[6:8]) & 0x3FFF, _number(body[8:10]) & 0x3FFF)
        elif name == b"VP8L" and len(body) >= 5:
            bits = _number(body[1:5])
            check_size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise RejectedImage(f"too large: WebP of more than {MAX_CHUNKS} chunks")
        place += 8 + length + (length & 1)
    image = Image.open(io.BytesIO(content), formats=("WEBP",))
    image.load()
    return image


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
