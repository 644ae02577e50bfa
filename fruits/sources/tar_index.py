"""Makes the index of a tar archive in one pass: the members and their positions.

Headers of ordinary files are parsed here, because an archive may have millions of them and Python's
`tarfile` needs a third of a millisecond for each PAX header. All others are parsed by `tarfile`:
sparse files, links, long names, lengths in other formats, and damaged headers.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import IO, NamedTuple, cast

import pyarrow as pa

from fruits.errors import InputError, one_line
from fruits.sources.indexes import Index, cached_index, new_index
from fruits.sources.listing import ROWS
from fruits.sources.members import LONGEST
from fruits.sources.tar_header import (
    BLOCK,
    is_gnu,
    is_whole,
    name_of,
    octal,
    padded_length,
    path_of,
    seconds,
    time_of,
)
from fruits.sources.text import original, storable
from fruits.storage.failures import store_errors
from fruits.storage.location import Location
from fruits.storage.ranges import open_ranges
from fruits.storage.walk import Entry, stat_file

KIND = "tar"

# Members with the label of a sample; longer ones are other data.
SIDECARS = (".cls", ".json")
MOST_SIDECAR = 1 << 20

# Types of members whose header has their name, and that of a folder in an incremental archive.
_PLAIN = (b"0", b"\0", tarfile.LNKTYPE, tarfile.SYMTYPE)
_DUMPED_FOLDER = b"D"

# What follows the end of an archive: programs fill up to a record of 10 kB, tapes had longer ones.
_MOST_FILLING = 64 << 10

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

# A longer PAX header is parsed by tarfile.
_MOST_PAX = 64 << 10

File = io.BufferedIOBase | io.RawIOBase


class Row(NamedTuple):
    """A member of an archive.

    Attributes:
        name: The name with its folders; bytes that are not UTF-8 are surrogate escapes.
        type: "file", "sparse" (stored without its holes), "link", "symlink" or "special".
        target: The target of a link, written like the name.
        length: The length of the content, in bytes.
        offset: The offset of its first header.
        span: The number of bytes from there to the next member.
        modified: The time of the last change, in whole seconds since 1970; 0 if it is invalid.
        text: The content of a member with the label of a sample, or None.
    """

    name: str
    type: str
    target: str
    length: int
    offset: int
    span: int
    modified: int
    text: str | None


_NUMBERS = ("length", "offset", "span", "modified")
_INDEX = pa.schema({n: pa.int64() if n in _NUMBERS else pa.string() for n in Row._fields})


def read_index(place: str, keep: bool = True) -> tuple[str, Entry, Index]:
    """The URI of an archive, its entry in the store, and its members for :func:`rows_of`.

    Args:
        place: the path or URI of the archive.
        keep: whether to cache the index for later runs.

    Raises:
        InputError: the file is missing, is not a tar archive, is compressed as a whole, or is
            damaged.
        StorageError: the store cannot be used.
    """
    location = Location.of(place)
    try:
        with store_errors(location.uri):
            entry = stat_file(location)
            make = partial(_made, location, entry.length)
            index = cached_index(KIND, location, entry, make) if keep else new_index(make)
    except FileNotFoundError:
        raise InputError(f"images: wanted a tar archive; {place} does not exist") from None
    except OSError as error:
        raise InputError(f"images: {place} cannot be read: {one_line(error)}") from error
    except (tarfile.TarError, ValueError) as error:
        raise InputError(
            f"images: wanted a complete tar archive; {place} cannot be read "
            f"({one_line(error)}): copy it again, or pack it again"
        ) from error
    return location.uri, entry, index


def rows_of(index: Index) -> Iterator[Row]:
    """Yields the members of an archive, in order."""
    for table in index.tables():
        names, types, targets, *others = (table[name].to_pylist() for name in Row._fields)
        yield from map(Row, map(original, names), types, map(original, targets), *others)


def _made(location: Location, length: int) -> Iterator[pa.Table]:
    with open_ranges(location, length) as file:
        start = file.read(6)
        for magic, program in _COMPRESSED.items():
            if start.startswith(magic):
                raise InputError(
                    f"images: wanted a tar archive whose members can be read one by one; "
                    f"{location} is compressed as a whole ({program}): decompress it to a .tar, "
                    "which is hardly longer, because images are compressed already"
                )
        file.seek(0)
        with tarfile.open(fileobj=cast(IO[bytes], file), mode="r:") as archive:
            rows = _rows(archive, file, length)
            yield _INDEX.empty_table()
            while some := list(islice(rows, ROWS)):
                columns = zip(zip(*some, strict=True), _INDEX.types, strict=True)
                yield pa.table([pa.array(*one) for one in columns], _INDEX)
            _check_end(file, archive.offset, length)


def _rows(archive: tarfile.TarFile, file: File, length: int) -> Iterator[Row]:
    first = True
    while True:
        # tarfile reads the first member when it opens the archive, and handles global PAX headers.
        if not first and not archive.pax_headers:
            while row := _ordinary(file, archive.offset, length):
                archive.offset += row.span
                yield row
        first = False
        member = archive.next()
        if member is None:
            return
        # tarfile would keep all members in memory, a kilobyte each.
        archive.members.clear()  # type: ignore[attr-defined]
        if archive.offset > length:
            raise tarfile.ReadError(f"it ends inside its last member, at byte {length:,}")
        if not 0 <= member.size < LONGEST:
            raise tarfile.ReadError(f"a member of {member.size:,} bytes")
        if not member.isdir() and member.type != _DUMPED_FOLDER:
            yield _other(archive, member, file)


def _ordinary(file: File, offset: int, length: int) -> Row | None:
    """The member at an offset if it is an ordinary file; None if tarfile must parse it."""
    file.seek(offset)
    header = file.read(BLOCK) or b""
    start, path = offset + BLOCK, None
    try:
        if header[156:157] == b"x" and is_whole(header):
            size = octal(header[124:136])
            path = path_of(file.read(size) or b"") if size <= _MOST_PAX else None
            if path is None:
                return None
            file.seek(start + padded_length(size))
            header = file.read(BLOCK) or b""
            start += padded_length(size) + BLOCK
        if header[156:157] not in (b"0", b"\0") or not is_whole(header):
            return None
        size = octal(header[124:136])
    except ValueError:
        return None
    name = path or name_of(header)
    stop = start + padded_length(size)
    if not name or name.endswith("/") or stop > length:
        return None
    text = None
    if name.lower().endswith(SIDECARS) and size <= MOST_SIDECAR:
        text = (file.read(size) or b"").decode("utf-8-sig", "replace")
    return Row(storable(name), "file", "", size, offset, stop - offset, time_of(header), text)


def _other(archive: tarfile.TarFile, member: tarfile.TarInfo, file: File) -> Row:
    file.seek(member.offset)
    header = file.read(BLOCK) or b""
    if is_gnu(header) and header[156:157] in _PLAIN:
        # tarfile takes the times in the header of an incremental archive for a part of the name.
        member.name = name_of(header)
    text = None
    if member.name.lower().endswith(SIDECARS) and member.size <= MOST_SIDECAR and member.isreg():
        content = archive.extractfile(member)
        text = content.read().decode("utf-8-sig", "replace") if content else None
    name, target = storable(member.name), storable(member.linkname)
    span = archive.offset - member.offset
    return Row(
        name=name,
        type=_type_of(member),
        target=target,
        length=member.size,
        offset=member.offset,
        span=span,
        modified=seconds(member.mtime),
        text=text,
    )


def _type_of(member: tarfile.TarInfo) -> str:
    """The type for :class:`Row`."""
    if member.islnk():
        return "link"
    if member.issym():
        return "symlink"
    if member.issparse():
        return "sparse"
    return "file" if member.isreg() else "special"


def _check_end(file: File, end: int, length: int) -> None:
    """Checks that the archive really ends here, because a damaged header looks like an end.

    Raises:
        tarfile.ReadError: it has no end, or more data follow.
    """
    file.seek(end)
    rest = file.read(_MOST_FILLING) or b""
    if len(rest) < BLOCK:
        # The standard wants two blocks of zeros; some programs write only one.
        raise tarfile.ReadError(f"no end at byte {end:,}, as if it was cut off after a member")
    if rest[:BLOCK].strip(b"\0"):
        raise tarfile.ReadError(f"damaged header at byte {end:,} of {length:,}")
    if rest.strip(b"\0"):
        raise tarfile.ReadError(
            f"it ends at byte {end:,} of {length:,}, but more data follow, as if two archives were "
            "in one file"
        )
