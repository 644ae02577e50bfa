"""Reads the orientation of a photograph without the other metadata, which can be large."""

import re
import struct
from typing import Any

from PIL import Image

# The operation that makes the pixels of each orientation upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_ORIENTATION = 0x0112
# Type of a tag's value -> its format in struct; other types are not integers.
_NUMBERS = {1: "B", 3: "H", 4: "I"}
_MAX_TAGS = 4096
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_MAX_PROFILE = 1 << 20


def orientation(info: dict[str | tuple[int, int], Any]) -> int:
    """The orientation in an image's metadata.

    Args:
        info: Pillow's `info`, with EXIF, a text that contains EXIF, or XMP.

    Returns:
        1 to 8; 0 if there is none, or if the metadata are damaged.
    """
    exif = info.get("exif")
    profile = info.get("Raw profile type exif")
    if not exif and isinstance(profile, str) and len(profile) < _MAX_PROFILE:
        try:
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
        except ValueError:
            exif = None
    if isinstance(exif, bytes) and (found := _in_exif(exif)) is not None:
        return found
    xmp = info.get("xmp")
    match = _IN_XMP.search(xmp) if isinstance(xmp, bytes) else None
    return int(match[1]) if match else 0


def _in_exif(exif: bytes) -> int | None:
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (place,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, place)
        for start in range(place + 2, place + 2 + 12 * min(count, _MAX_TAGS), 12):
            tag, kind, number = struct.unpack_from(order + "HHI", exif, start)
            if tag == _ORIENTATION and kind in _NUMBERS and number == 1:
                return int(struct.unpack_from(order + _NUMBERS[kind], exif, start + 8)[0])
    except struct.error:
        pass  # Without a readable orientation, the pixels can still be used.
    return None
