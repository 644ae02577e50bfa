"""Images that lie within other files: what a listing says of them, so that any task can read them.

The key of a member is the URI of the file it is in, ``!/``, and its own name:
``s3a://fruit/fruit.zip!/Apple/1.jpg``. For the rules of :mod:`fruits.sources.naming` the archive is
a folder: ``fruit/Apple/1.jpg``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import InputError
from fruits.sources.formats import SUFFIXES
from fruits.sources.listing import LISTING
from fruits.sources.naming import COLUMN, SPLITS, Naming
from fruits.sources.selection import Selection
from fruits.sources.text import storable

SEPARATOR = "!/"

# No file has more bytes, nor can a table say so.
LONGEST = 1 << 63

# The kind of an item that is not read at all: the reason is in its row.
REFUSED = "refused"

AT = pa.struct(
    [
        ("kind", pa.string()),
        ("container", pa.int32()),
        ("offset", pa.int64()),
        ("span", pa.int64()),
        ("stored", pa.int64()),
        ("method", pa.int32()),
        ("crc", pa.int64()),
        ("reason", pa.string()),
    ]
)
"""Where the bytes of an item are, null for a file of its own.

kind: which reader reads it. container: how many characters of the path name the file that it is in.
offset, span: the bytes of that file that hold it, with its header; in a table, the row. stored:
bytes as they are kept, compressed or not. method: of the compression. crc: CRC-32 of the content.
reason: why it is not read at all, or null.
"""

ITEMS = LISTING.append(pa.field("group", pa.string())).append(pa.field("at", AT))
"""The columns of a listing whose items are more than files; `group` is the source's own or null."""


class Member(NamedTuple):
    """An image within another file; see :data:`AT`.

    Attributes:
        name: within that file, as it is shown: the end of the key.
        length: of the content, in bytes.
        label: that the source itself gives, fit for a table, or None.
        split: that the source itself gives, or None.
        group: that the source itself gives, fit for a table, or None.
    """

    name: str
    length: int = 0
    offset: int = 0
    span: int = 0
    stored: int = 0
    method: int = 0
    crc: int | None = None
    reason: str | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None


class Place(NamedTuple):
    """One row of a listing, as a reader needs it: see :data:`AT`."""

    uri: str
    length: int
    offset: int
    span: int
    stored: int
    method: int
    crc: int | None
    reason: str | None


def places(items: pa.Table) -> Iterator[Place]:
    """The rows of a listing, for a reader."""
    fields = ("container", "offset", "span", "stored", "method", "crc", "reason")
    columns = {name: pc.struct_field(items["at"], name).to_pylist() for name in fields}
    paths, lengths = items["path"].to_pylist(), items["length"].to_pylist()
    for path, length, container, *rest in zip(paths, lengths, *columns.values(), strict=True):
        yield Place(path[:container], length, *rest)


def listed(
    kind: str,
    uri: str,
    modified: Any,
    members: Sequence[Member],
    naming: Naming,
    is_folder: bool = True,
) -> pa.Table:
    """The rows of :data:`ITEMS` for the members of one file, in the order in which they lie there.

    Args:
        kind: of the reader.
        uri: of the file.
        modified: when the file was last changed.
        members: of the file.
        naming: the rules by which names give labels and splits.
        is_folder: whether the file's own name labels members that are in no folder within it.
    """
    members = [_storable(one) for one in members]
    keys = pa.array([f"{uri}{SEPARATOR}{one.name}" for one in members], pa.string())
    labels, splits = _named(uri, keys, [one.name for one in members], naming, is_folder)
    at = {
        "kind": [kind] * len(members),
        "container": [len(uri)] * len(members),
        **{
            name: [getattr(one, name) for one in members]
            for name in ("offset", "span", "stored", "method", "crc", "reason")
        },
    }
    columns = {
        "path": keys,
        "label": preferred([one.label for one in members], labels, has_rules(naming)),
        "split": preferred([one.split for one in members], splits, naming.split == "none"),
        "length": pa.array([one.length for one in members], pa.int64()),
        "modified": pa.array([modified] * len(members), pa.timestamp("us", tz="UTC")),
        "group": pa.array([one.group for one in members], pa.string()),
        "at": pa.StructArray.from_arrays(
            [pa.array(at[field.name], field.type) for field in AT], fields=list(AT)
        ),
    }
    return pa.table({name: columns[name] for name in ITEMS.names}, schema=ITEMS)


def _storable(member: Member) -> Member:
    """A member fit for a table, whatever its archive says of it."""
    member = member._replace(name=storable(member.name))
    numbers = (member.length, member.offset, member.span, member.stored)
    if all(0 <= number < LONGEST for number in numbers):
        return member
    reason = f"damaged: it cannot have {member.length:,} bytes at byte {member.offset:,}"
    return member._replace(length=0, offset=0, span=0, stored=0, reason=member.reason or reason)


def _named(
    uri: str, keys: pa.Array, names: Sequence[str], naming: Naming, is_folder: bool
) -> tuple[pa.Array, pa.Array]:
    """Labels and splits by the names of members: two columns, null where names say nothing."""
    folder = re.sub(r"(?<=[^/])\.[A-Za-z]+$", "", uri)
    paths = pa.array([f"{folder}/{name}" for name in names], pa.string())
    splits = naming.splits(paths)
    if naming.split != "none" and (found := re.match(r"([A-Za-z]+)[-_.]\d", _base(folder))):
        # Shards are called train-00000-of-00008.
        own = naming.split_of(f"{found[1]}/x")
        splits = pc.fill_null(splits, own) if own else splits
    if has_rules(naming) and naming.label != "grandparent":
        return naming.labels(keys), splits
    return naming.labels(paths if is_folder else pa.array(names, pa.string())), splits


def side_of(word: str | None, where: str) -> str | None:
    """The side of the split that a word of a source stands for.

    Raises:
        InputError: for none.
    """
    if not word:
        return None
    if side := SPLITS.get(word.lower()):
        return side
    raise InputError(f"{where}: wanted train, test or validation as a split; got {word!r}")


def has_rules(naming: Naming) -> bool:
    """Whether the user said how labels follow from names: labels of a source do not count then."""
    return naming.label != "parent" and not naming.label.startswith(COLUMN)


def preferred(own: Sequence[str | None], by_name: pa.Array, rules_first: bool) -> pa.Array:
    """What the source itself says, or where it says nothing what names say.

    Args:
        own: what the source says.
        by_name: what names say.
        rules_first: whether the user gave rules for names, which then decide alone.
    """
    if rules_first:
        return by_name
    # In Unicode's normal form C, as labels by name are.
    said = pc.utf8_normalize(pa.array(own, pa.string()), form="NFC")
    return pc.coalesce(said, by_name)


def normal_name(name: str) -> tuple[str, str | None]:
    """A member's name as it is shown, and why the member is refused, or None.

    Nothing is ever written under such a name. One that leads out of its archive is refused all the
    same: it was made to do harm, or the archive is damaged.
    """
    if "\0" in name:
        return name.replace("\0", "?"), "its name has a zero byte in it"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[\\/]", name):
        return name, "its name is an absolute path"
    if ".." in re.split(r"[\\/]", name):
        return name, "its name leads out of the archive (..)"
    return posixpath.normpath(name), None


def is_item(name: str, reason: str | None, selection: Selection) -> bool:
    """Whether a member is listed: it is an image by its name; another one is counted."""
    if reason:
        return name.lower().endswith(SUFFIXES) or selection.is_image(_base(name))
    return selection.is_image(name)


def without_repeats(members: list[Member]) -> list[Member]:
    """Members whose names are all different: of several with one name, the last one is the image.

    So it is where the archive is extracted. The others are listed with the reason.
    """
    last = {one.name: number for number, one in enumerate(members)}
    if len(last) == len(members):
        return members
    seen: dict[str, int] = {}
    found = []
    for number, one in enumerate(members):
        if last[one.name] != number:
            seen[one.name] = seen.get(one.name, 0) + 1
            reason = one.reason or "a later member of the archive has the same name"
            one = one._replace(name=f"{one.name}#{seen[one.name]}", reason=reason)
        found.append(one)
    return found


def _base(name: str) -> str:
    return name.rpartition("/")[2]
