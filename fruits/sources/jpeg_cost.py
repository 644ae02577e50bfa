"""What a JPEG file will cost, and whether its scans suffice: read from the headers."""

from collections.abc import Iterator
from dataclasses import dataclass

from fruits.sources.jpeg_header import SEQUENTIAL, Header
from fruits.sources.limits import RejectedImage, check_size

# Full pixels of a file that is decoded row by row: 2 to 10 ns for each.
MAX_PIXELS_BY_ROWS = 1 << 30
# Blocks of 8 x 8 samples that all scans of a progressive file pass over: 10 to 50 ns for each.
# A photograph of 64 megapixels in the ten scans that cameras write needs half of them.
MAX_BLOCK_VISITS = 64 << 20
MAX_SCANS = 500

_SCAN = b"\xff\xda"


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
    _check_data(len(content) - header.scan, header)
    if header.by_rows:
        check_size(width // scale or 1, height // scale or 1)
        if width * height > MAX_PIXELS_BY_ROWS:
            raise RejectedImage(
                f"too large: {width} x {height} pixels, the limit is {MAX_PIXELS_BY_ROWS}"
            )
        return
    check_size(width, height)
    _check_visits(content, header)
    _check_scans(content, header)


def _check_data(size: int, header: Header) -> None:
    # A block of 64 pixels takes a bit at least, two if it is not progressive; with arithmetic
    # coding hardly anything, but a picture of less than this has no content.
    most = {0xC0: 256, 0xC1: 256, 0xC2: 512}.get(header.process, 16_384)
    if size * most < header.width * header.height:
        raise RejectedImage(
            f"damaged: truncated: {header.width} x {header.height} pixels do not fit "
            f"in the {size} bytes of the JPEG"
        )


def _check_visits(content: bytes, header: Header) -> None:
    blocks = header.blocks()
    most_scans = content.count(_SCAN, header.scan)
    if most_scans <= MAX_SCANS and most_scans * sum(blocks.values()) <= MAX_BLOCK_VISITS:
        return
    # Not all of these need be scans of this picture.
    visits = 0
    for number, scan in enumerate(_scans(content, header.scan), 1):
        visits += sum(blocks.get(name, 0) for name in scan.components)
        if number > MAX_SCANS:
            raise RejectedImage(f"too large: more than {MAX_SCANS} scans to decode")
        if visits > MAX_BLOCK_VISITS:
            raise RejectedImage(
                f"too large: {header.width} x {header.height} pixels in many scans, "
                f"more than {MAX_BLOCK_VISITS} blocks to decode"
            )


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
        if header.process in SEQUENTIAL:
            whole.update((component, n) for component in scan.components for n in (0, 1))
        elif scan.low == 0:
            kinds = (0, 1) if scan.first == 0 < scan.last else (0,) if scan.first == 0 else (1,)
            whole.update((component, n) for component in scan.components for n in kinds)
        if len(whole) == 2 * len(header.components):
            return
        if number > MAX_SCANS:
            return
    raise RejectedImage("damaged: truncated: scans of the JPEG are missing")
