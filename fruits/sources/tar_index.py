"""What is in a tar archive, and where: found by reading it through once.

Headers of ordinary files are read here, since an archive may have millions of them and Python's
`tarfile` takes a third of a millisecond for each with a PAX header. All others are left to it:
holes, links, long names of GNU, lengths in other forms, and whatever is damaged.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from functools import partial
from typing import IO, NamedTuple, cast

import pyarrow as pa

from fruits.errors import InputError, one_line
from fruits.sources.indexes import indexed
from fruits.sources.members import LONGEST
from fruits.sources.text import storable
from fruits.storage.failures import store_errors
from fruits.storage.location import Location
from fruits.storage.ranges import open_ranges
from fruits.storage.walk import Entry, look_at

KIND = "tar"

BLOCK = tarfile.BLOCKSIZE

# Members that say something of a sample; longer ones are data of another kind.
SIDECARS = (".cls", ".json")
MOST_SIDECAR = 1 << 20

# What follows the end of an archive: programs fill up to a record of 10 kB, tapes had longer ones.
_MOST_FILLING = 64 << 10

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

# Records of a PAX header that change nothing of what is read here, but for the path.
_HARMLESS = {"path", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname"}
_MOST_PAX = 64 << 10
_RECORD = re.compile(rb"(\d{1,9}) ([^=]+)=")

File = io.BufferedIOBase | io.RawIOBase


class Row(NamedTuple):
    """A member of an archive.

    Attributes:
        name: with its folders.
        type: "file", "sparse" (kept without its holes), "link", "symlink" or "special".
        target: of a link.
        length: of the content, in bytes.
        offset: where its first header begins.
        span: bytes from there to the next member.
        text: of a member that says something of a sample.
    """

    name: str
    type: str
    target: str
    length: int
    offset: int
    span: int
    text: str | None


_INDEX = pa.schema(
    [
        *((name, pa.string()) for name in ("name", "type", "target")),
        *((name, pa.int64()) for name in ("length", "offset", "span")),
        ("text", pa.string()),
    ]
)


def read_index(place: str | Location, keep: bool = True) -> tuple[str, Entry, list[Row]]:
    """The URI of an archive, what the store says of it, and its members.

    Args:
        place: of the archive.
        keep: whether the index is kept for later runs.

    Raises:
        InputError: there is no such file, or it is no tar archive, compressed as a whole, or
            damaged.
        StorageError: the store cannot be used.
    """
    location = Location.of(place)
    try:
        with store_errors(location.uri):
            entry = look_at(location)
            make = partial(_made, location, entry.length)
            index = indexed(KIND, location, entry, make) if keep else make()
    except FileNotFoundError:
        raise InputError(f"images: wanted a tar archive; {place} does not exist") from None
    except OSError as error:
        raise InputError(f"images: {place} cannot be read: {one_line(error)}") from error
    except (tarfile.TarError, ValueError) as error:
        raise InputError(
            f"images: wanted a whole tar archive; {place} is none that can be read "
            f"({one_line(error)}): copy it again, or pack it again"
        ) from error
    columns = (index[name].to_pylist() for name in Row._fields)
    return location.uri, entry, [Row(*values) for values in zip(*columns, strict=True)]


def is_header(header: bytes, length: int) -> bool:
    """Whether a block is the header of a member of this length: by its checksum, and its length."""
    try:
        return _octal(header[124:136]) == length and _is_whole(header)
    except ValueError:
        return False


def filled(length: int) -> int:
    """What a content takes in the archive, in whole blocks."""
    return -(-length // BLOCK) * BLOCK


def _made(location: Location, length: int) -> pa.Table:
    with open_ranges(location, length) as file:
        start = file.read(6)
        for magic, program in _COMPRESSED.items():
            if start.startswith(magic):
                raise InputError(
                    f"images: wanted a tar archive whose members can be read one by one; "
                    f"{location} is compressed as a whole ({program}): unpack it to a .tar, which "
                    "is hardly longer, as images are compressed already"
                )
        file.seek(0)
        with tarfile.open(fileobj=cast(IO[bytes], file), mode="r:") as archive:
            rows = list(_rows(archive, file, length))
            _check_end(file, archive.offset, length)
    columns = list(zip(*rows, strict=True)) or [()] * len(_INDEX)
    return pa.table([pa.array(*one) for one in zip(columns, _INDEX.types, strict=True)], _INDEX)


def _rows(archive: tarfile.TarFile, file: File, length: int) -> Iterator[Row]:
    first = True
    while True:
        # tarfile has read the first member when it is opened. Records for all members are its too.
        if not first and not archive.pax_headers:
            while row := _ordinary(file, archive.offset, length):
                archive.offset += row.span
                yield row
        first = False
        member = archive.next()
        if member is None:
            return
        # tarfile keeps them all, a kilobyte each.
        archive.members.clear()  # type: ignore[attr-defined]
        if archive.offset > length:
            raise tarfile.ReadError(f"it ends within its last member, at byte {length:,}")
        if not 0 <= member.size < LONGEST:
            raise tarfile.ReadError(f"a member of {member.size:,} bytes")
        if not member.isdir():
            yield _other(archive, member)


def _ordinary(file: File, offset: int, length: int) -> Row | None:
    """The member at a place, if it is an ordinary file; None for all that tarfile knows better."""
    file.seek(offset)
    header = file.read(BLOCK) or b""
    start, path = offset + BLOCK, None
    try:
        if header[156:157] == b"x" and _is_whole(header):
            size = _octal(header[124:136])
            path = _path_of(file.read(size) or b"") if size <= _MOST_PAX else None
            if path is None:
                return None
            file.seek(start + filled(size))
            header = file.read(BLOCK) or b""
            start += filled(size) + BLOCK
        if header[156:157] not in (b"0", b"\0") or not _is_whole(header):
            return None
        size = _octal(header[124:136])
    except ValueError:
        return None
    name = path or _name_of(header)
    stop = start + filled(size)
    if not name or name.endswith("/") or stop > length:
        return None
    text = None
    if name.endswith(SIDECARS) and size <= MOST_SIDECAR:
        text = (file.read(size) or b"").decode("utf-8", "replace")
    return Row(storable(name), "file", "", size, offset, stop - offset, text)


def _other(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Row:
    kind = "file" if member.isreg() else "special"
    kind = "sparse" if member.issparse() else kind
    kind = "link" if member.islnk() else "symlink" if member.issym() else kind
    text = None
    if member.name.endswith(SIDECARS) and member.size <= MOST_SIDECAR and member.isreg():
        content = archive.extractfile(member)
        text = content.read().decode("utf-8", "replace") if content else None
    name, target = storable(member.name), storable(member.linkname)
    span = archive.offset - member.offset
    return Row(name, kind, target, member.size, member.offset, span, text)


def _path_of(records: bytes) -> str | None:
    """The path of a PAX header, "" if it has none; None if it has more than is known here."""
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


def _name_of(header: bytes) -> str:
    """The name in a header; "" where it may be in a form that tarfile knows."""
    name, prefix = (part.partition(b"\0")[0] for part in (header[:100], header[345:500]))
    if not prefix:
        return _decoded(name)
    return _decoded(prefix + b"/" + name) if header[257:263] == b"ustar\0" else ""


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _octal(digits: bytes) -> int:
    """A number of a header.

    Raises:
        ValueError: it is in another form.
    """
    digits = digits.strip(b" \0")
    if digits.strip(b"01234567"):
        raise ValueError(digits)
    return int(digits or b"0", 8)


def _is_whole(header: bytes) -> bool:
    """Whether the checksum of a header is right; ValueError where there is none."""
    if len(header) < BLOCK:
        return False
    found = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    return found == int(header[148:156].strip(b" \0"), 8)


def _check_end(file: File, end: int, length: int) -> None:
    """Makes sure that an archive was read to its end: a damaged header looks like one.

    Raises:
        tarfile.ReadError: it goes on.
    """
    file.seek(end)
    rest = file.read(_MOST_FILLING) or b""
    if rest[:BLOCK].strip(b"\0"):
        raise tarfile.ReadError(f"damaged header at byte {end:,} of {length:,}")
    if rest.strip(b"\0"):
        raise tarfile.ReadError(f"it ends at byte {end:,} of {length:,} and goes on after that")
