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
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import one_line
from fruits.sources.archive import damaged
from fruits.sources.columns import number_text
from fruits.sources.indexes import Index
from fruits.sources.members import (
    ITEMS,
    Member,
    Position,
    is_item,
    normal_name,
    side_of,
    tables_of,
)
from fruits.sources.naming import Naming
from fruits.sources.parts import Found
from fruits.sources.repeats import renamed, repeats
from fruits.sources.selection import Selection
from fruits.sources.spread import gather
from fruits.sources.tar_header import BLOCK, is_header, padded_length
from fruits.sources.tar_index import KIND, SIDECARS, Row, read_index, rows_of
from fruits.sources.text import storable

# The method of a member that is stored without its holes.
_SPARSE = 1


def list_tar(place: str, naming: Naming) -> Found:
    """Lists the images of a tar archive, see :func:`fruits.sources.open_source.list_place`."""
    selection = Selection()
    uri, entry, index = read_index(place)
    archive = _Extracted(index, naming)
    # If samples have their own labels, the name of the archive is not a label.
    own = any(one.label for one in archive.members()) if archive.sidecars else False
    members = archive.different(selection)
    images = gather(tables_of(KIND, uri, entry.modified, members, naming, not own), ITEMS)
    return Found(images, selection.passed_over)


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


def members_of(index: Index, selection: Selection, naming: Naming) -> Iterator[Member]:
    """The images of an archive; the selection counts the other members."""
    return _Extracted(index, naming).different(selection)


class _Extracted:
    """An archive as if it were extracted.

    Members that no other one refers to are not kept in memory.

    Attributes:
        sidecars: The texts with the labels of samples, by name.
    """

    def __init__(self, index: Index, naming: Naming) -> None:
        self._index = index
        self._naming = naming
        # The members that there are by name after extraction, and what each link was a copy of. A
        # hard link is a copy of what has the name when the link is made: a later member with the
        # same name changes nothing of it.
        self._files: dict[str, Row] = {}
        self._copies: dict[int, Row] = {}
        links = pa.array(["link", "symlink"])
        is_linked = any(pc.any(pc.is_in(t["type"], links)).as_py() for t in index.tables())
        for number, row in enumerate(rows_of(index)):
            if is_linked or row.name.lower().endswith(SIDECARS):
                target = self._files.get(posixpath.normpath(row.target))
                if row.type == "link" and target:
                    self._copies[number] = target
                self._files[posixpath.normpath(row.name)] = self._copies.get(number, row)
        self.sidecars: dict[str, str] = {}
        for name, row in self._files.items():
            if row.text is not None:
                stem, suffix = posixpath.splitext(name)
                self.sidecars[stem + suffix.lower()] = row.text

    def different(self, selection: Selection) -> Iterator[Member]:
        """Yields the images with different names; the selection counts the other members."""
        names = (name for name, *_ in self._images(selection))
        return renamed(self.members(), dict(repeats(names)))

    def members(self) -> Iterator[Member]:
        """Yields the images with the names that they have in the archive."""
        for name, reason, row, number in self._images(Selection()):
            there = _resolved(self._copies.get(number, row), self._files)
            if there is None:
                target = storable(row.target)
                reason = reason or f"a link to {target}, which is not a file of the archive"
                there = row
            label, split, group = _sidecar_values(name, self.sidecars, self._naming)
            yield Member(
                name,
                length=there.length,
                offset=there.offset,
                span=there.span,
                stored=there.length,
                method=_SPARSE if there.type == "sparse" else 0,
                reason=reason,
                label=label,
                split=split,
                group=group,
            )

    def _images(self, selection: Selection) -> Iterator[tuple[str, str | None, Row, int]]:
        """Yields name, reason to refuse it, row, and the number of the row of each image."""
        for number, row in enumerate(rows_of(self._index)):
            name, reason = normal_name(row.name)
            if row.type == "special":
                selection.pass_over("special files")
            elif is_item(name, reason, selection):
                yield name, reason, row, number


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
