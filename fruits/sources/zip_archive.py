"""Zip archives as a source: the central directory is the listing, members are read by ranges.

Stored and deflated members are read, as nearly all archives have them. Length and CRC-32 of each
are compared with the directory, and no more is inflated than it says.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa

from fruits.errors import InputError, one_line
from fruits.sources.archive import damaged
from fruits.sources.listing import Listing
from fruits.sources.members import (
    Member,
    Place,
    is_item,
    listed,
    normal_name,
    without_repeats,
)
from fruits.sources.naming import Naming
from fruits.sources.selection import Selection
from fruits.storage.failures import store_errors
from fruits.storage.location import Location
from fruits.storage.ranges import open_ranges
from fruits.storage.walk import look_at

KIND = "zip"

# A member that inflates to more than this many bytes, and so many times of what is stored, is a
# bomb: pictures are compressed already, and those that are not are smaller.
BOMB_BYTES, BOMB_RATIO = 64 << 20, 200

# No header of a member is longer than this: 30 bytes, its name and its extra fields.
_MOST_HEADER = 30 + 2 * 0xFFFF

_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED, _PATCH, _STRONG, _UTF8, _MASKED = 1, 1 << 5, 1 << 6, 1 << 11, 1 << 13
_UNIX = 3
_METHODS = {1: "shrunk", 6: "imploded", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard"}
_METHODS |= {95: "XZ", 96: "JPEG variant", 98: "PPMd", 99: "AES encryption"}


@dataclass(frozen=True)
class ZipArchives:
    """Zip archives: a :class:`fruits.sources.source.Lister`.

    Attributes:
        places: their paths or URIs.
        naming: the rules by which names give labels and splits.
    """

    places: tuple[str, ...]
    naming: Naming = field(default_factory=Naming)

    def items(self) -> Listing:
        """Every image in them: see :meth:`fruits.sources.source.Lister.items`."""
        selection = Selection()
        tables = [list_zip(place, self.naming, selection) for place in self.places]
        return Listing(pa.concat_tables(tables), dict(sorted(selection.passed_over.items())))


def list_zip(place: str | Location, naming: Naming, selection: Selection) -> pa.Table:
    """The images of a zip archive, rows of :data:`fruits.sources.members.ITEMS`.

    Args:
        place: of the archive.
        naming: the rules by which names give labels and splits.
        selection: counts the members that are no images.

    Raises:
        InputError: there is no such file, or it is no archive whose directory can be read.
        StorageError: the store cannot be used.
    """
    location = Location.of(place)
    try:
        with store_errors(location.uri):
            entry = look_at(location)
            with open_ranges(location, entry.length) as file, zipfile.ZipFile(file) as archive:
                members = _members(archive.infolist(), archive.start_dir, selection)
    except FileNotFoundError:
        raise InputError(f"images: wanted a zip archive; {place} does not exist") from None
    except OSError as error:
        raise InputError(f"images: {place} cannot be read: {one_line(error)}") from error
    # What zipfile raises for directories that are damaged, or newer than itself.
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise InputError(
            f"images: wanted a whole zip archive; {place} is none that can be read "
            f"({one_line(error)}): copy it again, or pack it again"
        ) from error
    members.sort(key=lambda one: one.offset)
    return listed(KIND, location.uri, entry.modified, without_repeats(members), naming)


def cut(place: Place, data: memoryview) -> bytes | OSError:
    """The content of one member.

    Args:
        place: of the member.
        data: the bytes of the archive that hold it, with its header.

    Returns:
        The content, or the error that says what is wrong with it.
    """
    if len(data) < 30:
        return damaged("the archive ends before this member")
    signature, name, extra = _HEADER.unpack_from(data)
    stored = data[30 + name + extra :][: place.stored]
    if signature != b"PK\3\4":
        return damaged("there is no member at its place: the archive was changed or is damaged")
    if len(stored) < place.stored:
        return damaged(f"{len(stored):,} of {place.stored:,} bytes: the archive is damaged")
    try:
        content = bytes(stored) if place.method == 0 else _inflated(stored, place.length)
    except zlib.error as error:
        return damaged(f"its compressed bytes are damaged ({error})")
    if len(content) > place.length:
        return damaged(f"it inflates to more than the {place.length:,} bytes that it should have")
    if len(content) < place.length:
        return damaged(f"{len(content):,} of {place.length:,} bytes: its end is missing")
    if zlib.crc32(content) != place.crc:
        return damaged("its CRC-32 is not that of the directory: the archive is damaged")
    return content


def _inflated(stored: memoryview, length: int) -> bytes:
    """The content, and at most one byte more than it should have."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, length + 1)


def _members(entries: list[zipfile.ZipInfo], end: int, selection: Selection) -> list[Member]:
    """The images of a directory, in the order in which the directory has them.

    Args:
        entries: of the directory.
        end: where the directory begins, and the members end.
        selection: counts the others.
    """
    starts = sorted({entry.header_offset for entry in entries})
    nexts = dict(zip(starts, [*starts[1:], end], strict=bool(starts)))
    counts: dict[int, int] = {}
    for entry in entries:
        counts[entry.header_offset] = counts.get(entry.header_offset, 0) + 1
    found = []
    for entry in entries:
        own = _name(entry)
        name, reason = normal_name(own)
        if own.endswith("/") or not is_item(name, reason, selection):
            continue
        room = nexts[entry.header_offset] - entry.header_offset
        shared = counts[entry.header_offset] > 1
        found.append(
            Member(
                name,
                length=entry.file_size,
                offset=entry.header_offset,
                span=max(0, min(room, _MOST_HEADER + entry.compress_size)),
                stored=entry.compress_size,
                method=entry.compress_type,
                crc=entry.CRC,
                reason=reason or _reason(entry, room, shared),
            )
        )
    return found


def _reason(entry: zipfile.ZipInfo, room: int, shared: bool) -> str | None:
    """Why a member is refused, or None."""
    if entry.flag_bits & (_ENCRYPTED | _STRONG | _MASKED):
        return "encrypted: extract it with its password, and give the folder"
    if entry.flag_bits & _PATCH or entry.compress_type not in (0, 8):
        method = _METHODS.get(entry.compress_type, f"method {entry.compress_type}")
        return f"unsupported compression: {method}; stored and deflated members are read"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "a symbolic link within an archive"
    if shared or 30 + entry.compress_size > room:
        return "it overlaps another member, as in archives that are made to do harm"
    ratio = entry.file_size / max(1, entry.compress_size)
    if entry.file_size > BOMB_BYTES and ratio > BOMB_RATIO:
        return (
            f"too large: {entry.compress_size:,} bytes inflate to {entry.file_size:,} "
            f"(1:{ratio:,.0f}); above {BOMB_BYTES:,} bytes the limit is 1:{BOMB_RATIO}"
        )
    if entry.compress_type == 0 and entry.compress_size != entry.file_size:
        return "damaged: it is stored as it is, with two different lengths"
    return None


def _name(entry: zipfile.ZipInfo) -> str:
    """The name of a member, also where the archive does not say that it is in UTF-8."""
    name = entry.orig_filename
    if not entry.flag_bits & _UTF8:
        raw = name.encode("cp437")
        # Finder and Linux write UTF-8 without a word; anything else is hardly ever valid UTF-8.
        with suppress(UnicodeDecodeError):
            name = _unicode_name(entry, raw) or raw.decode()
    # Some programs of Windows write its own separator.
    return name if entry.create_system == _UNIX else name.replace("\\", "/")


def _unicode_name(entry: zipfile.ZipInfo, raw: bytes) -> str | None:
    """The name that Info-ZIP adds in UTF-8, if it belongs to the other one."""
    extra = entry.extra
    while len(extra) >= 4:
        tag, length = struct.unpack_from("<HH", extra)
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if tag == 0x7075 and len(body) > 5 and body[1:5] == struct.pack("<I", zlib.crc32(raw)):
            return body[5:].decode()
    return None
