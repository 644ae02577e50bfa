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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from fruits.errors import one_line
from fruits.sources.archive import READS, damaged
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
from fruits.sources.tar_index import BLOCK, KIND, Row, filled, is_header, read_index
from fruits.sources.text import storable

# How a member is kept: as it is, or without its holes.
_SPARSE = 1


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
    start = place.span - filled(place.length)
    header = bytes(data[start - BLOCK : start])
    if not is_header(header, place.length):
        return damaged("there is another member at its place: the archive was changed")
    return bytes(data[start : start + place.length])


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


def members_of(rows: list[Row], selection: Selection) -> list[Member]:
    """The images of an archive; the selection counts the other members."""
    files = {posixpath.normpath(row.name): row for row in rows}
    sidecars = {name: row.text for name, row in files.items() if row.text is not None}
    found = []
    for row in rows:
        name, reason = normal_name(row.name)
        if row.type == "special":
            selection.passed_over["special files"] += 1
            continue
        if not is_item(name, reason, selection):
            continue
        there = _resolved(row, files)
        if there is None:
            reason = reason or f"a link to {row.target}, which is no file of the archive"
            there = row
        label, split, group = _said(name, sidecars)
        found.append(
            Member(
                name,
                *(there.length, there.offset, there.span, there.length),
                method=_SPARSE if there.type == "sparse" else 0,
                reason=reason,
                label=label,
                split=split,
                group=group,
            )
        )
    return without_repeats(found)


def _resolved(row: Row, files: dict[str, Row]) -> Row | None:
    """The file that a member is, or that it links to in the end; None where it leads nowhere."""
    for _ in range(40):  # As many links as the system follows.
        if row.type in ("file", "sparse"):
            return row
        target = row.target
        if row.type == "symlink":
            target = posixpath.join(posixpath.dirname(row.name), target)
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
        except (ValueError, RecursionError):
            found = None
        said = found if isinstance(found, dict) else {}
    label = storable((sidecars.get(f"{key}.cls") or "").strip()) or _word(said.get("label"))
    side = side_of(_word(said.get("split")), f"images: {key}.json")
    return label, side, _word(said.get("group"))


def _word(value: object) -> str | None:
    """A text or a number of JSON as a text."""
    if isinstance(value, str) or (isinstance(value, int | float) and value is not True):
        return storable(str(value))
    return None
