"""Reads the header of a JPEG file: its frame and the segments before the first scan."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fruits.images.size_limits import RejectedImage

# The most segments of the header that are not metadata; a usual file has ten.
MAX_TABLES = 1000

SEQUENTIAL = {0xC0: "baseline", 0xC1: "extended", 0xC9: "arithmetic-coded"}
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_FILL = re.compile(rb"\xff+")
_UNSUPPORTED = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical lossless",
    0xCB: "arithmetic-coded lossless",
    0xCD: "hierarchical arithmetic-coded",
    0xCE: "hierarchical arithmetic-coded",
    0xCF: "hierarchical arithmetic-coded lossless",
    0xDE: "hierarchical",
}


@dataclass(slots=True)
class Header:
    """The contents of the segments before the first scan.

    Attributes:
        process: The number of the frame's marker.
        width: The width in pixels.
        height: The height in pixels.
        components: The identifier, horizontal and vertical sampling factor of each component.
        scan: The offset of the first scan's header.
        interleaved: Whether the first scan has all components.
        needed: The begin and end of the segments that are needed to decode the pixels.
        exif: The first EXIF segment, or b"".
        xmp: The last XMP packet, or b"".
        segments: The number of segments.
    """

    process: int
    width: int
    height: int
    components: list[tuple[int, int, int]]
    scan: int
    interleaved: bool
    needed: list[tuple[int, int]]
    exif: bytes
    xmp: bytes
    segments: int

    @property
    def by_rows(self) -> bool:
        """Whether it is decoded row by row; otherwise all coefficients are kept in memory."""
        return self.interleaved and self.process in SEQUENTIAL

    @property
    def metadata(self) -> dict[str | tuple[int, int], Any]:
        """EXIF and XMP as in Pillow's `info`."""
        return {"exif": self.exif, "xmp": self.xmp}

    def blocks(self) -> dict[int, int]:
        """The number of blocks of 8 x 8 samples of each component, by identifier."""
        across, down = (max(c[n] for c in self.components) for n in (1, 2))
        units = -(-self.width // (8 * across)) * -(-self.height // (8 * down))
        return {name: units * h * v for name, h, v in self.components}


def read_header(content: bytes) -> Header:
    """Reads the header of a JPEG file.

    Raises:
        RejectedImage: the file is damaged, or has an unsupported layout.
    """
    frame: _Frame | None = None
    needed: list[tuple[int, int]] = []
    exif = xmp = b""
    for count, (marker, begin, end) in enumerate(_segments(content), 1):
        if marker == 0xE1 and not exif and content[begin + 4 : begin + 10] == b"Exif\0\0":
            exif = content[begin + 4 : end]
        elif marker == 0xE1 and content.startswith(_XMP, begin + 4):
            xmp = content[begin + 4 + len(_XMP) : end]
        if not _is_needed(marker):
            continue
        needed.append((begin, end))
        if len(needed) > MAX_TABLES:
            raise RejectedImage(f"too large: JPEG of more than {MAX_TABLES} tables")
        if marker == 0xDA:
            if frame is None or end - begin < 5:
                raise RejectedImage("damaged: JPEG whose scan begins before its frame")
            interleaved = content[begin + 4] == len(frame[3])
            return Header(*frame, begin, interleaved, needed, exif, xmp, count)
        if _is_frame(marker):
            frame = _frame(content[begin + 4 : end], marker)
    raise RejectedImage("damaged: truncated: the JPEG ends before its pixels")


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, begin and end of each segment, until the picture or the file ends."""
    place = 2
    while True:
        if content[place : place + 1] != b"\xff":
            place = content.find(b"\xff", place)
            if place < 0:
                return
        if content[place + 1 : place + 2] == b"\xff":
            place = _FILL.match(content, place).end() - 1  # type: ignore[union-attr]
        if place + 4 > len(content):
            return
        marker = content[place + 1]
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # These have no content.
            place += 2
            continue
        end = place + 2 + (content[place + 2] << 8 | content[place + 3])
        if marker == 0xD9 or end > len(content):
            return
        yield marker, place, end
        place = end


def _is_needed(marker: int) -> bool:
    """Whether a segment is needed for the pixels; comments and most metadata are not."""
    return marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE)


def _is_frame(marker: int) -> bool:
    return (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xDE


# Process, width, height and components.
_Frame = tuple[int, int, int, list[tuple[int, int, int]]]


def _frame(segment: bytes, marker: int) -> _Frame:
    if marker in _UNSUPPORTED:
        raise RejectedImage(f"unsupported layout: {_UNSUPPORTED[marker]} JPEG")
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise RejectedImage("damaged: JPEG whose frame header is too short")
    precision, height, width, count = (
        segment[0],
        segment[1] << 8 | segment[2],
        segment[3] << 8 | segment[4],
        segment[5],
    )
    if precision != 8:
        raise RejectedImage(f"unsupported layout: JPEG with {precision} bits per sample")
    if count not in (1, 3, 4):
        raise RejectedImage(f"unsupported layout: JPEG with {count} components")
    if height == 0:
        raise RejectedImage("unsupported layout: JPEG with its height after its pixels")
    components = [
        (segment[n], segment[n + 1] >> 4, segment[n + 1] & 15) for n in range(6, 6 + 3 * count, 3)
    ]
    if not all(1 <= h <= 4 and 1 <= v <= 4 for _, h, v in components):
        raise RejectedImage("damaged: JPEG with sampling factors that do not exist")
    return marker, width, height, components
