"""Checks from its headers what a JPEG file costs to decode, and whether its scans are complete."""

from collections.abc import Iterator
from dataclasses import dataclass

from fruits.images.jpeg_header import SEQUENTIAL, Header
from fruits.images.size_limits import RejectedImage, check_size

# The most pixels at full scale of a file that is decoded row by row: each takes 2 to 10 ns.
MAX_PIXELS_BY_ROWS = 1 << 30
# The most blocks of 8 x 8 samples in all scans of a progressive file: each takes 10 to 50 ns. A
# photograph of 64 megapixels in ten scans, as cameras write it, needs half of them.
MAX_BLOCK_VISITS = 64 << 20
MAX_SCANS = 500

_SCAN = b"\xff\xda"


def check_cost(content: bytes, header: Header, scale: int) -> None:
    """Rejects a file that needs too much memory or time, or has missing scans.

    Args:
        content: the bytes of the file.
        header: its header.
        scale: the divisor of its sides when it is decoded: 1, 2, 4 or 8.

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
    # A block of 64 pixels needs at least one bit, or two if it is not progressive. Arithmetic
    # coding needs nearly nothing, but a picture with less data than this has no content.
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
    # Some of these markers may not be scans of this picture: count the real ones.
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
    first: int  # The first and the last coefficient.
    last: int
    low: int  # The lowest bit that the scan contains.

    def finished(self) -> tuple[int, ...]:
        """The coefficients whose last bit it contains: 0 for the mean, 1 for the others."""
        if self.low > 0:
            return ()
        if self.first > 0:
            return (1,)
        return (0, 1) if self.last > 0 else (0,)


def _scans(content: bytes, place: int) -> Iterator[_Scan]:
    """Yields the headers of the scans from `place` to the end of the picture."""
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
    """Rejects a file with missing scans: its pixels would be blurred or grey."""
    # The finished coefficients of each component, see `_Scan.finished`.
    whole: set[tuple[int, int]] = set()
    for number, scan in enumerate(_scans(content, header.scan), 1):
        finished = (0, 1) if header.process in SEQUENTIAL else scan.finished()
        whole.update((component, n) for component in scan.components for n in finished)
        if len(whole) == 2 * len(header.components):
            return
        if number > MAX_SCANS:
            return
    raise RejectedImage("damaged: truncated: scans of the JPEG are missing")
