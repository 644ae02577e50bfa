"""Detects zeros instead of data in a JPEG file, as interrupted copies and broken disks leave them.

A decoder interprets them as data, because a code of only zeros has a meaning in every file. If it
means the end of a block, zeros may be an area of one colour. Otherwise, a long run of zeros is
noise that no encoder writes.
"""

from fruits.images.jpeg_header import Header
from fruits.images.size_limits import RejectedImage

# A run of zero bytes that is longer than a block with all its coefficients.
_ZEROS = bytes(64)
_END = b"\xff\xd9"
_BASELINE, _EXTENDED = 0xC0, 0xC1
_END_OF_BLOCK = 0


def require_data(content: bytes, header: Header) -> bytes:
    """Returns the file without padding zeros at its end.

    Raises:
        RejectedImage: there are zeros instead of data.
    """
    end = content.find(_END, header.scan)
    if end < 0 and content.endswith(_ZEROS):
        # Perhaps only the end marker is missing from the rest.
        content = content.rstrip(b"\0")
        end = len(content)
    place = content.find(_ZEROS, header.scan, end if end >= 0 else len(content))
    if place >= 0 and not _may_be_flat(content, header):
        raise RejectedImage(
            f"damaged: truncated: zeros instead of the JPEG's data, at byte {place}"
        )
    return content


def _may_be_flat(content: bytes, header: Header) -> bool:
    """Whether zeros may be blocks of one colour; True also if that is unknown."""
    if header.process not in (_BASELINE, _EXTENDED) or not header.interleaved:
        return True
    firsts = _first_symbols(content, header)
    # The scan names a table for each component, in the low half of a byte.
    count = content[header.scan + 4]
    used = {byte & 15 for byte in content[header.scan + 6 : header.scan + 5 + 2 * count : 2]}
    return all(firsts.get(number, _END_OF_BLOCK) == _END_OF_BLOCK for number in used)


def _first_symbols(content: bytes, header: Header) -> dict[int, int]:
    """The meaning of the code of only zeros, for each table of coefficients after the first."""
    found = {}
    for begin, end in header.needed:
        if content[begin + 1] != 0xC4:
            continue
        place = begin + 4
        while place + 17 < end:
            kind, number = content[place] >> 4, content[place] & 15
            if kind:
                found[number] = content[place + 17]
            place += 17 + sum(content[place + 1 : place + 17])
    return found
