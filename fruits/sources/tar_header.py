"""Reads the headers of ordinary members of tar archives."""

from __future__ import annotations

import re
import tarfile

from fruits.sources.members import LONGEST

BLOCK = tarfile.BLOCKSIZE

# Records of a PAX header that are not needed here, and the path.
_HARMLESS = {"path", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname"}
_RECORD = re.compile(rb"(\d{1,9}) ([^=]+)=")


def is_header(header: bytes, length: int) -> bool:
    """Whether a block is the header of a member of this length, with a correct checksum."""
    try:
        return octal(header[124:136]) == length and is_whole(header)
    except ValueError:
        return False


def padded_length(length: int) -> int:
    """The length of a content in the archive, padded to whole blocks."""
    return -(-length // BLOCK) * BLOCK


def path_of(records: bytes) -> str | None:
    """The path of a PAX header, "" if it has none; None if it has other records than known."""
    path, place = b"", 0
    while place < len(records):
        found = _RECORD.match(records, place)
        if not found:
            return None
        stop = place + int(found[1])
        if stop <= found.end():
            return None
        value, key = records[found.end() : stop - 1], found[2].decode()
        if records[stop - 1 : stop] != b"\n" or key not in _HARMLESS:
            return None
        path, place = (value, stop) if key == "path" else (path, stop)
    return _decoded(path)


def name_of(header: bytes) -> str:
    """The name in a header; "" if tarfile must parse it."""
    name, prefix = (part.partition(b"\0")[0] for part in (header[:100], header[345:500]))
    if not prefix or is_gnu(header):
        return _decoded(name)
    return _decoded(prefix + b"/" + name) if header[257:263] == b"ustar\0" else ""


def is_gnu(header: bytes) -> bool:
    """Whether a header is in the format of GNU."""
    return header[257:265] == b"ustar  \0"


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def octal(digits: bytes) -> int:
    """An octal number of a header.

    Raises:
        ValueError: the number is in another format.
    """
    digits = digits.strip(b" \0")
    if digits.strip(b"01234567"):
        raise ValueError(digits)
    return int(digits or b"0", 8)


def time_of(header: bytes) -> int:
    """The time of a header in the usual format, or in that of GNU for others, such as before 1970.

    An invalid one is 0, because it is no reason to refuse an archive.
    """
    digits = header[136:148]
    if digits[0] >= 0x80:
        return seconds(int.from_bytes(digits, signed=True) + (digits[0] == 0x80) * (1 << 95))
    try:
        return octal(digits)
    except ValueError:
        return 0


def seconds(time: float) -> int:
    """A time in whole seconds; 0 for one that no file has."""
    return int(time) if -LONGEST < time < LONGEST else 0


def is_whole(header: bytes) -> bool:
    """Whether the checksum of a header is correct; raises ValueError if there is none."""
    if len(header) < BLOCK:
        return False
    found = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    return found == int(header[148:156].strip(b" \0"), 8)
