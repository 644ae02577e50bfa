"""Tar archives as a source: an index is made once, and members are read by byte ranges.

A WebDataset shard has several members for one sample, with the same name up to the first dot:
``0007.jpg``, ``0007.cls``, ``0007.json``. The label is the text of the ``.cls``, or ``label`` in
the ``.json``, which may also have ``split`` and ``group``.
"""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from dataclasses import dataclass, field
from typing import Any

from fruits.errors import one_line
from fruits.sources.archive import damaged
from fruits.sources.columns import number_text
from fruits.sources.listing import Listing
from fruits.sources.members import (
    Member,
    Position,
    is_item,
    listed,
    normal_name,
    side_of,
    without_repeats,
)
from fruits.sources.naming import Naming
from fruits.sources.selection import Selection
from fruits.sources.tar_index import BLOCK, KIND, Row, is_header, padded_length, read_index
from fruits.sources.text import storable

# The method of a member that is stored without its holes.
_SPARSE = 1


@dataclass(frozen=True)
class TarShard:
    """A tar archive: a :class:`fruits.sources.source.Lister`.

    Attributes:
        place: The path or URI of the archive.
        naming: The rules for labels and splits.
    """

    place: str
    naming: Naming = field(default_factory=Naming)

    def items(self) -> Listing:
        """Lists all images, see :meth:`fruits.sources.source.Lister.items`."""
        selection = Selection()
        uri, entry, index = read_index(self.place)
        members = members_of(index, selection, self.naming)
        # If samples have their own labels, the name of the archive is not a label.
        own = any(one.label for one in members)
        images = listed(KIND, uri, entry.modified, members, self.naming, not own)
        return Listing(images, dict(sorted(selection.passed_over.items())))


def cut(place: Position, data: memoryview) -> bytes | OSError:
    """Extracts one member.

    Args:
        place: the position of the member.
        data: the bytes of the archive with the member and its headers.

    Returns:
        The content, or an error with the reason.
    """
    if len(data) < place.span:
        return damaged("the archive ends before the end of this member")
    if place.method == _SPARSE:
        return _sparse(place, data)
    start = place.span - padded_length(place.length)
    header = bytes(data[start - BLOCK : start])
    if not is_header(header, place.length):
        return damaged("another member is at its position: the archive was changed")
    return bytes(data[start : start + place.length])


def _sparse(place: Position, data: memoryview) -> bytes | OSError:
    """The content of a member that is stored without its holes."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            member = archive.next()
            file = archive.extractfile(member) if member and member.isreg() else None
            content = file.read() if file else b""
    except tarfile.TarError as error:
        return damaged(f"the archive was changed or is damaged ({one_line(error)})")
    if len(content) != place.length:
        return damaged("another member is at its position: the archive was changed")
    return content


def members_of(rows: list[Row], selection: Selection, naming: Naming) -> list[Member]:
    """The images of an archive; the selection counts the other members."""
    files, copies = _extracted(rows)
    sidecars = {}
    for name, row in files.items():
        if row.text is not None:
            stem, suffix = posixpath.splitext(name)
            sidecars[stem + suffix.lower()] = row.text
    found = []
    for row, copied in zip(rows, copies, strict=True):
        name, reason = normal_name(row.name)
        if row.type == "special":
            selection.passed_over["special files"] += 1
            continue
        if not is_item(name, reason, selection):
            continue
        there = _resolved(copied or row, files)
        if there is None:
            target = storable(row.target)
            reason = reason or f"a link to {target}, which is not a file of the archive"
            there = row
        label, split, group = _sidecar_values(name, sidecars, naming)
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


def _extracted(rows: list[Row]) -> tuple[dict[str, Row], list[Row | None]]:
    """The members that there are by name after extraction, and what each member was a copy of.

    A hard link is a copy of what has the name when the link is made: a later member with the same
    name changes nothing of it.
    """
    files: dict[str, Row] = {}
    copies = []
    for row in rows:
        target = files.get(posixpath.normpath(row.target)) if row.type == "link" else None
        files[posixpath.normpath(row.name)] = target or row
        copies.append(target)
    return files, copies


def _resolved(row: Row, files: dict[str, Row]) -> Row | None:
    """The file of a member after all links are followed; None for a broken link."""
    for _ in range(40):  # The limit of Linux.
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


def _sidecar_values(
    name: str, sidecars: dict[str, str], naming: Naming
) -> tuple[str | None, str | None, str | None]:
    """Label, split and group from the other members of a sample."""
    folder, slash, base = name.rpartition("/")
    key = folder + slash + base.partition(".")[0]
    said: dict[str, Any] = {}
    if text := sidecars.get(f"{key}.json"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        said = found if isinstance(found, dict) else {}
    label = _word(sidecars.get(f"{key}.cls")) or _word(said.get("label"))
    side = None
    if naming.split != "none":
        side = side_of(_word(said.get("split")), f"images: {key}.json")
    return label, side, _word(said.get("group"))


def _word(value: object) -> str | None:
    """A text, a number or a truth value of JSON as the text that it is in a table, too."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number_text(value)
    return storable(str(value).strip()) or None if isinstance(value, str | int) else None
