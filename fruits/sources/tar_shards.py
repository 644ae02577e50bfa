"""Tar archives as a source: an index is made once, members are read by ranges.

A shard of WebDataset has several members for one sample, with one name up to its first dot:
``0007.jpg``, ``0007.cls``, ``0007.json``. The label is the text of the ``.cls``, else ``label`` in
the ``.json``, which may have ``split`` and ``group`` too.
"""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, cast

import pyarrow as pa

from fruits.errors import InputError, one_line
from fruits.sources.archive import READS, damaged
from fruits.sources.indexes import indexed
from fruits.sources.listing import Listing
from fruits.sources.members import (
    Member,
    Place,
    is_item,
    listed,
    normal_name,
    side_of,
    without_repeats,
)
from fruits.sources.naming import Naming
from fruits.sources.selection import Selection
from fruits.storage.failures import store_errors
from fruits.storage.location import Location
from fruits.storage.ranges import open_ranges
from fruits.storage.walk import Entry, look_at

KIND = "tar"

# Sidecars that say something of a sample; longer ones are data of another kind.
SIDECARS = (".cls", ".json")
MOST_SIDECAR = 1 << 20

# How a member is kept: as it is, or without its holes.
_SPARSE = 1

_BLOCK = tarfile.BLOCKSIZE
# What follows the end of an archive: programs fill up to a record of 10 kB, tapes had longer ones.
_MOST_FILLING = 64 << 10
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

_INDEX = pa.schema(
    [
        ("name", pa.string()),
        ("type", pa.string()),
        ("target", pa.string()),
        ("length", pa.int64()),
        ("offset", pa.int64()),
        ("span", pa.int64()),
        ("text", pa.string()),
    ]
)
"""type: "file", "sparse", "link", "symlink" or "special". target: of a link. offset, span: with its
headers. text: of a sidecar."""


@dataclass(frozen=True)
class TarShards:
    """Tar archives: a :class:`fruits.sources.source.Lister`.

    Attributes:
        places: their paths or URIs.
        naming: the rules by which names give labels and splits.
    """

    places: tuple[str, ...]
    naming: Naming = field(default_factory=Naming)

    def items(self) -> Listing:
        """Every image in them: see :meth:`fruits.sources.source.Lister.items`."""
        selection = Selection()
        with ThreadPoolExecutor(READS) as pool:
            found = list(pool.map(read_index, self.places))
        tables = [
            listed(KIND, uri, entry.modified, members_of(index, selection), self.naming)
            for uri, entry, index in found
        ]
        return Listing(pa.concat_tables(tables), dict(sorted(selection.passed_over.items())))


def read_index(place: str | Location, keep: bool = True) -> tuple[str, Entry, pa.Table]:
    """The URI of an archive, what the store says of it, and its index.

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
    return location.uri, entry, index


def cut(place: Place, data: memoryview) -> bytes | OSError:
    """The content of one member.

    Args:
        place: of the member.
        data: the bytes of the archive that hold it, with its headers.

    Returns:
        The content, or the error that says what is wrong with it.
    """
    if len(data) < place.span:
        return damaged("the archive ends before the end of this member")
    if place.method == _SPARSE:
        return _sparse(place, data)
    start = place.span - _filled(place.length)
    header = bytes(data[start - _BLOCK : start])
    if not _is_header(header, place.length):
        return damaged("there is another member at its place: the archive was changed")
    return bytes(data[start : start + place.length])


def _filled(length: int) -> int:
    """What a content takes in the archive, in whole blocks."""
    return -(-length // _BLOCK) * _BLOCK


def _is_header(header: bytes, length: int) -> bool:
    """Whether a block is the header of a member of this length: by its checksum, and its length."""
    try:
        checksum, size = (int(f.strip(b" \0"), 8) for f in (header[148:156], header[124:136]))
    except ValueError:
        return False
    return size == length and checksum == sum(header) - sum(header[148:156]) + 8 * 32


def _sparse(place: Place, data: memoryview) -> bytes | OSError:
    """The content of a member that is kept without its holes."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            member = archive.next()
            file = archive.extractfile(member) if member and member.isreg() else None
            content = file.read() if file else b""
    except tarfile.TarError as error:
        return damaged(f"the archive was changed or is damaged ({one_line(error)})")
    if len(content) != place.length:
        return damaged("there is another member at its place: the archive was changed")
    return content


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
            rows = list(_rows(archive))
            _check_end(file, archive.offset, length)
    return pa.Table.from_pylist(rows, _INDEX)


def _rows(archive: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    while member := archive.next():
        # tarfile keeps them all, a kilobyte each.
        archive.members.clear()  # type: ignore[attr-defined]
        if member.isdir():
            continue
        kind = "file" if member.isreg() else "special"
        kind = "sparse" if member.issparse() else kind
        kind = "link" if member.islnk() else "symlink" if member.issym() else kind
        yield {
            "name": _text(member.name),
            "type": kind,
            "target": _text(member.linkname),
            "length": member.size,
            "offset": member.offset,
            "span": archive.offset - member.offset,
            "text": _sidecar(archive, member),
        }


def _sidecar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    if not member.name.endswith(SIDECARS) or member.size > MOST_SIDECAR:
        return None
    file = archive.extractfile(member) if member.isreg() else None
    return file.read().decode("utf-8", "replace") if file else None


def _check_end(file: io.BufferedIOBase | io.RawIOBase, end: int, length: int) -> None:
    """Makes sure that an archive was read to its end: a damaged header looks like one.

    Raises:
        tarfile.ReadError: it goes on.
    """
    file.seek(end)
    rest = file.read(_MOST_FILLING) or b""
    if rest[:_BLOCK].strip(b"\0"):
        raise tarfile.ReadError(f"damaged header at byte {end:,} of {length:,}")
    if rest.strip(b"\0"):
        raise tarfile.ReadError(f"it ends at byte {end:,} of {length:,} and goes on after that")


def members_of(index: pa.Table, selection: Selection) -> list[Member]:
    """The images of an archive; the selection counts the other members."""
    rows = index.to_pylist()
    files = {posixpath.normpath(row["name"]): row for row in rows}
    sidecars = {
        posixpath.normpath(row["name"]): row["text"] for row in rows if row["text"] is not None
    }
    found = []
    for row in rows:
        name, reason = normal_name(row["name"])
        if row["type"] == "special":
            selection.passed_over["special files"] += 1
            continue
        if not is_item(name, reason, selection):
            continue
        there = _resolved(row, files)
        if there is None:
            reason = reason or f"a link to {row['target']}, which is no file of the archive"
            there = row
        label, split, group = _said(name, sidecars)
        found.append(
            Member(
                name,
                *(there["length"], there["offset"], there["span"], there["length"]),
                method=_SPARSE if there["type"] == "sparse" else 0,
                reason=reason,
                label=label,
                split=split,
                group=group,
            )
        )
    return without_repeats(found)


def _resolved(row: dict[str, Any], files: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The file that a member is, or that it links to in the end; None where it leads nowhere."""
    for _ in range(40):  # As many links as the system follows.
        if row["type"] in ("file", "sparse"):
            return row
        target = row["target"]
        if row["type"] == "symlink":
            target = posixpath.join(posixpath.dirname(row["name"]), target)
        found = files.get(posixpath.normpath(target))
        if found is None or found is row:
            return None
        row = found
    return None


def _said(name: str, sidecars: dict[str, str]) -> tuple[str | None, str | None, str | None]:
    """Label, split and group that the other members of a sample give."""
    folder, slash, base = name.rpartition("/")
    key = folder + slash + base.partition(".")[0]
    said: dict[str, Any] = {}
    if text := sidecars.get(f"{key}.json"):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        said = found if isinstance(found, dict) else {}
    label = (sidecars.get(f"{key}.cls") or "").strip() or _word(said.get("label"))
    side = side_of(_word(said.get("split")), f"images: {key}.json")
    return label, side, _word(said.get("group"))


def _word(value: object) -> str | None:
    """A text or a number of JSON as a text."""
    if isinstance(value, str) or (isinstance(value, int | float) and value is not True):
        return str(value)
    return None


def _text(name: str) -> str:
    r"""A name fit for a table: of one that is not UTF-8, the bytes that are not, as `\udce9`."""
    return name.encode("utf-8", "backslashreplace").decode()
