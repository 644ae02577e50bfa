"""JPEG: what a file will cost is read from its headers, and whether all of its pixels are there."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin

from fruits.sources.limits import RejectedImage, check_size

# Full pixels of a file that is decoded row by row: 2 to 10 ns for each.
MAX_PIXELS_BY_ROWS = 1 << 30
# Blocks of 8 x 8 samples that all scans of a progressive file pass over: 10 to 50 ns for each.
# A photograph of 64 megapixels in the ten scans that cameras write needs half of them.
MAX_BLOCK_VISITS = 64 << 20
MAX_SCANS = 500
# Segments of the header that are not metadata; a usual file has ten.
MAX_TABLES = 1000
# Pillow keeps and looks through all segments of the header; beyond these it gets the needed ones.
_MANY_SEGMENTS = 100
_MUCH_HEADER = 1 << 20

_END = b"\xff\xd9"
_SCAN = b"\xff\xda"
_BLACK = (0, (0, 0, 0), (0, 0, 0, 0))
_FILL = re.compile(rb"\xff+")
_SEQUENTIAL = {0xC0: "baseline", 0xC1: "extended", 0xC9: "arithmetic-coded"}
_PROGRESSIVE = {0xC2: "progressive", 0xCA: "arithmetic-coded progressive"}
_ARITHMETIC = (0xC9, 0xCA)
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
    """What the segments before the first scan say.

    Attributes:
        process: the number of the frame's marker.
        width: in pixels.
        height: in pixels.
        components: identifier, horizontal and vertical sampling factor of each.
        scan: where the first scan's header begins.
        interleaved: the first scan has all components.
        needed: the parts of the header without which the pixels could not be decoded.
        exif: the first EXIF segment, or nothing.
        segments: number of segments.
    """

    process: int
    width: int
    height: int
    components: list[tuple[int, int, int]]
    scan: int
    interleaved: bool
    needed: list[tuple[int, int]]
    exif: bytes
    segments: int

    @property
    def by_rows(self) -> bool:
        """Decoded row by row; otherwise all coefficients are held in memory."""
        return self.interleaved and self.process in _SEQUENTIAL

    def blocks(self) -> dict[int, int]:
        """Blocks of 8 x 8 samples of each component, by its identifier."""
        across, down = (max(c[n] for c in self.components) for n in (1, 2))
        units = -(-self.width // (8 * across)) * -(-self.height // (8 * down))
        return {name: units * h * v for name, h, v in self.components}


def read_header(content: bytes) -> Header:
    """The header of a JPEG file.

    Raises:
        RejectedImage: it is damaged, or of a layout that is not read.
    """
    size = len(content)
    frame: tuple[int, int, int] | None = None
    components: list[tuple[int, int, int]] = []
    needed: list[tuple[int, int]] = []
    exif = b""
    segments = 0
    place = 2
    while True:
        begin = place
        if content[place : place + 1] != b"\xff":
            place = content.find(b"\xff", place)
            if place < 0:
                break
        if content[place + 1 : place + 2] == b"\xff":
            place = _FILL.match(content, place).end() - 1  # type: ignore[union-attr]
        if place + 4 > size:
            break
        marker = content[place + 1]
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            place += 2
            continue
        if marker == 0xD9:
            break
        length = content[place + 2] << 8 | content[place + 3]
        end = place + 2 + length
        segments += 1
        if end > size:
            break
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            if marker == 0xE1 and not exif and content[place + 4 : place + 10] == b"Exif\0\0":
                exif = content[place + 4 : end]
            elif marker in (0xE0, 0xEE):
                needed.append((place, end))
        else:
            needed.append((place, end))
            if len(needed) > MAX_TABLES:
                raise RejectedImage(f"too large: JPEG of more than {MAX_TABLES} tables")
            if marker == 0xDA:
                if frame is None or length < 3:
                    raise RejectedImage("damaged: JPEG whose scan begins before its frame")
                interleaved = content[place + 4] == len(components)
                return Header(*frame, components, place, interleaved, needed, exif, segments)
            if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xDE:
                frame, components = _frame(content[place + 4 : end], marker)
        place = end if end > begin else begin + 2
    raise RejectedImage("damaged: truncated: the JPEG ends before its pixels")


def _frame(segment: bytes, marker: int) -> tuple[tuple[int, int, int], list[tuple[int, int, int]]]:
    """Process, width and height, and components of a frame."""
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
        raise RejectedImage("unsupported layout: JPEG that tells its height after its pixels")
    components = [
        (segment[n], segment[n + 1] >> 4, segment[n + 1] & 15) for n in range(6, 6 + 3 * count, 3)
    ]
    if not all(1 <= h <= 4 and 1 <= v <= 4 for _, h, v in components):
        raise RejectedImage("damaged: JPEG with sampling factors that do not exist")
    return (marker, width, height), components


def check_cost(content: bytes, header: Header, scale: int) -> None:
    """Refuses a file that takes too much memory or time, or whose scans do not suffice.

    Args:
        content: of the file.
        header: of it.
        scale: the part of its sides that is decoded: 1, 2, 4 or 8.

    Raises:
        RejectedImage: with the reason.
    """
    width, height = header.width, header.height
    # A block of 64 pixels takes a bit at least, two if it is not progressive; with arithmetic
    # coding hardly anything, but a picture of less than this has no content.
    data = len(content) - header.scan
    most = {0xC0: 256, 0xC1: 256, 0xC2: 512}.get(header.process, 16_384)
    if data * most < width * height:
        raise RejectedImage(
            f"damaged: truncated: {width} x {height} pixels do not fit "
            f"in the {data} bytes of the JPEG"
        )
    if header.by_rows:
        check_size(width // scale or 1, height // scale or 1)
        if width * height > MAX_PIXELS_BY_ROWS:
            raise RejectedImage(
                f"too large: {width} x {height} pixels, the limit is {MAX_PIXELS_BY_ROWS}"
            )
        return
    check_size(width, height)
    blocks = header.blocks()
    scans = content.count(_SCAN, header.scan)
    if scans > MAX_SCANS or scans * sum(blocks.values()) > MAX_BLOCK_VISITS:
        # Not all of these need be scans of this picture.
        visits = 0
        for number, scan in enumerate(_scans(content, header.scan), 1):
            visits += sum(blocks.get(name, 0) for name in scan.components)
            if number > MAX_SCANS:
                raise RejectedImage(f"too large: more than {MAX_SCANS} scans to decode")
            if visits > MAX_BLOCK_VISITS:
                raise RejectedImage(
                    f"too large: {width} x {height} pixels in many scans, "
                    f"more than {MAX_BLOCK_VISITS} blocks to decode"
                )
    _check_scans(content, header)


@dataclass(slots=True)
class _Scan:
    components: bytes
    first: int  # coefficients
    last: int
    low: int  # the lowest bit that the scan brings


def _scans(content: bytes, place: int) -> Iterator[_Scan]:
    """The headers of the scans from here to the end of the picture."""
    while True:
        length = int.from_bytes(content[place + 2 : place + 4])
        count = content[place + 4] if place + 4 < len(content) else 0
        header = content[place + 5 : place + 2 + length]
        if length != 6 + 2 * count or len(header) < 2 * count + 3:
            return
        first, last, bits = header[2 * count :]
        yield _Scan(header[: 2 * count : 2], first, last, bits & 15)
        place = content.find(_SCAN, place + 2 + length)
        if place < 0:
            return


def _check_scans(content: bytes, header: Header) -> None:
    """Refuses a file some of whose scans are missing: its pixels would be vague or grey."""
    # Of each component, the coefficients (0: the mean; 1: one of the others) whose last bit came.
    whole: set[tuple[int, int]] = set()
    for number, scan in enumerate(_scans(content, header.scan), 1):
        if header.process in _SEQUENTIAL:
            whole.update((component, n) for component in scan.components for n in (0, 1))
        elif scan.low == 0:
            kinds = (0, 1) if scan.first == 0 < scan.last else (0,) if scan.first == 0 else (1,)
            whole.update((component, n) for component in scan.components for n in kinds)
        if len(whole) == 2 * len(header.components):
            return
        if number > MAX_SCANS:
            return
    raise RejectedImage("damaged: truncated: scans of the JPEG are missing")


def load(content: bytes, side: int | None) -> Image.Image:
    """The pixels of a JPEG file.

    Args:
        content: of the file.
        side: the smallest scale is taken that keeps this many pixels; None: full scale.

    Raises:
        RejectedImage: it costs too much, is truncated, damaged or of a layout that is not read.
    """
    header = read_header(content)
    scale = 1
    if side is not None:
        # As Pillow's draft chooses it.
        ratio = min(header.width // side, header.height // side)
        scale = next(s for s in (8, 4, 2, 1) if ratio >= s or s == 1)
    check_cost(content, header, scale)
    if header.segments > _MANY_SEGMENTS or header.scan > _MUCH_HEADER:
        image = _load(_slimmed(content, header), header, side, scale)
        image.info["exif"] = header.exif
        return image
    return _load(content, header, side, scale)


def _load(content: bytes, header: Header, side: int | None, scale: int) -> Image.Image:
    try:
        return _decode(content, header, side, scale)
    except OSError as error:
        if "truncated" not in str(error):
            if header.process in _ARITHMETIC:
                # A decoder may be built without it; then it says no more than this.
                raise RejectedImage(
                    "unsupported layout: arithmetic-coded JPEG that the decoder does not read"
                ) from error
            raise
    return _completed(content, side)


def _decode(content: bytes, header: Header, side: int | None, scale: int) -> Image.Image:
    image = _open(content, side)
    # By the time that all but the end marker has been read, all rows but the last ones are there:
    # an end marker that was put behind half of the data is noticed here.
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
            # Rows that are not there yet are black.
            core, middle = image.im, image.width // 2
            suspicious = (
                core.getpixel((middle, row)) in _BLACK and core.getpixel((0, row)) in _BLACK
            )
        return rest.pop() if rest else b""

    image.load_read = read  # type: ignore[assignment, method-assign]
    image.load()
    return _completed(content[:end], side) if suspicious else image


def _open(content: bytes, side: int | None) -> JpegImagePlugin.JpegImageFile:
    # Not Image.open, which would look for further pictures (MPO).
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
    if side is not None:
        image.draft(None, (side, side))
    return image


def _slimmed(content: bytes, header: Header) -> bytes:
    """The file without comments and metadata."""
    parts = [content[begin:end] for begin, end in header.needed[:-1]]
    return b"".join([b"\xff\xd8", *parts, content[header.scan :]])


def _completed(content: bytes, side: int | None) -> Image.Image:
    """The pixels of a file without an end marker, if nothing but this is missing.

    Were data missing, then what is put in their place would change the pixels.
    """
    content = content.removesuffix(b"\xff")
    zeros, ones = (_open(content + tail + _END, side) for tail in (b"", 64 * b"\xff\0"))
    zeros.load()
    ones.load()
    if zeros.tobytes() != ones.tobytes():
        raise RejectedImage("damaged: truncated: pixels of the JPEG are missing")
    return zeros
