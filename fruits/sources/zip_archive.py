"""Zip archives as a source: the central directory is the listing, members are read by byte ranges.

Stored and deflated members are supported; nearly all archives have only these. The length and the
CRC-32 of each member are checked, and no more bytes are inflated than the directory says.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import chain, groupby, pairwise
from operator import attrgetter
from typing import NamedTuple

from fruits.errors import InputError, one_line
from fruits.images.size_limits import RefusedItemError
from fruits.sources.archive import damaged
from fruits.sources.members import (
    ITEMS,
    Member,
    Position,
    is_item,
    normal_name,
    tables_of,
)
from fruits.sources.naming import Naming
from fruits.sources.parts import Found
from fruits.sources.repeats import renamed, repeats
from fruits.sources.selection import Selection
from fruits.sources.spread import gather
from fruits.storage.failures import store_errors
from fruits.storage.location import Location
from fruits.storage.ranges import open_ranges
from fruits.storage.walk import stat_file

KIND = "zip"

# A member that inflates to more than this many bytes, with more than this ratio, is a bomb: most
# pictures are compressed already, and the others are smaller.
BOMB_BYTES, BOMB_RATIO = 64 << 20, 200

# The longest header of a member: 30 bytes, its name and its extra fields.
_MOST_HEADER = 30 + 2 * 0xFFFF

_HEADER = struct.Struct("<4s22xHH")

# The end of an archive without a comment: its signature, and the number of its last file.
_END = struct.Struct("<4sH16x")
# This value means that the real number is in another field.
_NO_DISK = 0xFFFF
_ENCRYPTED, _PATCH, _STRONG, _UTF8, _MASKED = 1, 1 << 5, 1 << 6, 1 << 11, 1 << 13
_UNIX = 3
_METHODS = {1: "shrunk", 6: "imploded", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard"}
_METHODS |= {95: "XZ", 96: "JPEG variant", 98: "PPMd", 99: "AES encryption"}


class Directory(NamedTuple):
    """The directory of a zip archive.

    Attributes:
        uri: The URI of the archive.
        modified: When the archive was last changed.
        entries: The members.
        end: The offset of the directory, where the members end.
    """

    uri: str
    modified: datetime | int
    entries: list[zipfile.ZipInfo]
    end: int


def list_zip(place: str, naming: Naming) -> Found:
    """Lists the images of a zip archive, see :func:`fruits.sources.open_source.list_place`."""
    selection = Selection()
    found = read_directory(place)
    members = members_of(found, selection)
    images = gather(tables_of(KIND, found.uri, found.modified, members, naming), ITEMS)
    return Found(images, selection.passed_over)


def members_of(found: Directory, selection: Selection) -> Iterator[Member]:
    """The images of an archive; the selection counts the other members."""
    members = [*_members(found.entries, found.end, selection)]
    return renamed(members, dict(repeats(one.name for one in members)))


def read_directory(place: str) -> Directory:
    """Reads the directory of a zip archive.

    Args:
        place: the path or URI of the archive.

    Raises:
        InputError: the file is missing, or its directory cannot be read.
        StorageError: the store cannot be used.
    """
    location = Location.of(place)
    disk = 0
    try:
        with store_errors(location.uri):
            entry = stat_file(location)
            with open_ranges(location, entry.length) as file:
                disk = _disk(file, entry.length)
                with zipfile.ZipFile(file) as archive:
                    if disk or any(0 < one.volume < _NO_DISK for one in archive.infolist()):
                        raise _one_of_several(place)
                    entries, end = archive.infolist(), archive.start_dir
    except FileNotFoundError:
        raise InputError(f"images: wanted a zip archive; {place} does not exist") from None
    except OSError as error:
        raise InputError(f"images: {place} cannot be read: {one_line(error)}") from error
    # The errors of zipfile for directories that are damaged or too new.
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        if disk:
            raise _one_of_several(place) from None
        raise InputError(
            f"images: wanted a complete zip archive; {place} cannot be read "
            f"({one_line(error)}): copy it again, or pack it again"
        ) from error
    return Directory(location.uri, entry.modified, entries, end)


def cut(place: Position, data: memoryview) -> bytes | OSError:
    """Extracts one member.

    Args:
        place: the position of the member.
        data: the bytes of the archive with the member and its header.

    Returns:
        The content, or an error with the reason.
    """
    if len(data) < 30:
        return damaged("the archive ends before this member")
    signature, name, extra = _HEADER.unpack_from(data)
    stored = data[30 + name + extra :][: place.stored]
    if signature != b"PK\3\4":
        return damaged("no member is at its position: the archive was changed or is damaged")
    if len(stored) < place.stored:
        return damaged(f"{len(stored):,} of {place.stored:,} bytes: the archive is damaged")
    try:
        content = bytes(stored) if place.method == 0 else _inflated(stored, place.length)
    except zlib.error as error:
        return RefusedItemError(f"damaged: its compressed bytes: {error}")
    if len(content) > place.length:
        wanted = f"the {place.length:,} bytes that it should have"
        return RefusedItemError(f"damaged: it inflates to more than {wanted}")
    if len(content) < place.length:
        found = f"{len(content):,} of {place.length:,} bytes"
        return RefusedItemError(f"damaged: {found}: its end is missing")
    if zlib.crc32(content) != place.crc:
        return RefusedItemError("damaged: its CRC-32 differs from the directory")
    return content


def _disk(file: io.BufferedIOBase | io.RawIOBase, length: int) -> int:
    """The number of the file that the directory ends in; 0 where there is one file."""
    file.seek(max(0, length - _END.size))
    end = file.read(_END.size) or b""
    if len(end) < _END.size:
        return 0
    signature, disk = _END.unpack(end)
    return int(disk) if signature == b"PK\5\6" and disk < _NO_DISK else 0


def _one_of_several(place: str) -> InputError:
    return InputError(
        f"images: wanted a whole zip archive; {place} is the last part of one in several parts: "
        f"join them, such as with zip -s 0 {place} --out whole.zip"
    )


def _inflated(stored: memoryview, length: int) -> bytes:
    """The decompressed content; at most one byte more than expected."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, length + 1)


def _members(entries: list[zipfile.ZipInfo], end: int, selection: Selection) -> Iterator[Member]:
    """Yields the images of a directory, in the order of the archive.

    Args:
        entries: the entries of the directory.
        end: the offset of the directory, where the members end.
        selection: counts the members that are not images.
    """
    offset_of = attrgetter("header_offset")
    there = groupby(sorted(entries, key=offset_of), offset_of)
    starts = chain(((offset, list(some)) for offset, some in there), [(end, [])])
    for (offset, some), (stop, _) in pairwise(starts):
        for entry in some:
            own = _name(entry)
            name, reason = normal_name(own)
            if own.endswith("/") or not is_item(name, reason, selection):
                continue
            room = stop - offset
            yield Member(
                name,
                length=entry.file_size,
                offset=offset,
                span=max(0, min(room, _MOST_HEADER + entry.compress_size)),
                stored=entry.compress_size,
                method=entry.compress_type,
                crc=entry.CRC,
                reason=reason or _reason(entry, room, len(some) > 1),
            )


def _reason(entry: zipfile.ZipInfo, room: int, shared: bool) -> str | None:
    """Why a member is refused, or None."""
    if entry.flag_bits & (_ENCRYPTED | _STRONG | _MASKED):
        return "encrypted: extract the archive with its password, and use the folder"
    if entry.flag_bits & _PATCH or entry.compress_type not in (0, 8):
        method = _METHODS.get(entry.compress_type, f"method {entry.compress_type}")
        return f"unsupported compression: {method}; only stored and deflated members are supported"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "a symbolic link inside an archive"
    if shared or 30 + entry.compress_size > room:
        return "it overlaps another member, as in malicious archives"
    ratio = entry.file_size / max(1, entry.compress_size)
    if entry.file_size > BOMB_BYTES and ratio > BOMB_RATIO:
        return (
            f"too large: {entry.compress_size:,} bytes inflate to {entry.file_size:,} "
            f"(1:{ratio:,.0f}); above {BOMB_BYTES:,} bytes the limit is 1:{BOMB_RATIO}"
        )
    if entry.compress_type == 0 and entry.compress_size != entry.file_size:
        return "damaged: it is stored uncompressed, but has two different lengths"
    return None


def _name(entry: zipfile.ZipInfo) -> str:
    """The name of a member; it may be UTF-8 even if the archive does not say so."""
    name = entry.orig_filename
    if not entry.flag_bits & _UTF8:
        raw = name.encode("cp437")
        # Finder and Linux write UTF-8 without a flag; other encodings are rarely valid UTF-8.
        with suppress(UnicodeDecodeError):
            name = _unicode_name(entry, raw) or raw.decode()
    # Some programs of Windows write backslashes as separators.
    return name if entry.create_system == _UNIX else name.replace("\\", "/")


def _unicode_name(entry: zipfile.ZipInfo, raw: bytes) -> str | None:
    """The UTF-8 name that Info-ZIP adds, if it belongs to this name."""
    extra = entry.extra
    while len(extra) >= 4:
        tag, length = struct.unpack_from("<HH", extra)
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if tag == 0x7075 and len(body) > 5 and body[1:5] == struct.pack("<I", zlib.crc32(raw)):
            return body[5:].decode()
    return None
