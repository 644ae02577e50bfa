"""The listing of images inside other files, with all that a task needs to read them.

The key of a member is the URI of its archive, ``!/``, and its own name:
``s3a://fruit/fruit.zip!/Apple/1.jpg``. For the rules of :mod:`fruits.sources.naming` the archive is
a folder: ``fruit/Apple/1.jpg``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import InputError
from fruits.images.formats import SUFFIXES
from fruits.sources.listing import LISTING, ROWS
from fruits.sources.naming import (
    COLUMN,
    NUMBERED,
    SPLITS,
    Naming,
    partition_of,
    split_of_archive,
)
from fruits.sources.selection import Selection
from fruits.sources.text import original, storable

SEPARATOR = "!/"

# The length of a file must be less than this, to fit in a column of int64.
LONGEST = 1 << 63

# The kind of an item that is never read; its row has the reason.
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
"""The position of an item in another file; null if the item is a file itself.

kind: the reader of the item. container: the length of the part of the path that names the other
file. offset, span: the bytes of that file with the item and its header; in a table, the number of
the row. stored: the stored length, compressed or not. method: the compression method. crc: the
CRC-32 of the content. reason: why the item is never read, or null.
"""

ITEMS = LISTING.append(pa.field("group", pa.string())).append(pa.field("at", AT))
"""The columns of a listing of items that may be members; `group` comes from the source."""


NO_VALUE = ""
"""A label or a split that the source leaves empty: the image has none, whatever its name says."""


class Member(NamedTuple):
    """An image inside another file; for the other attributes, see :data:`AT`.

    Attributes:
        name: The name in that file; escaped if it is not valid Unicode, it is the end of the key.
        length: The length of the content, in bytes.
        label: The label from the source, as valid Unicode; :data:`NO_VALUE`; or None, if the name
            gives it.
        split: The split from the source, :data:`NO_VALUE` or None, like the label.
        group: The group from the source, as valid Unicode, or None.
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


class Position(NamedTuple):
    """The position of one item, as a reader needs it; see :data:`AT`."""

    uri: str
    length: int
    offset: int
    span: int
    stored: int
    method: int
    crc: int | None
    reason: str | None


def positions(items: pa.Table) -> Iterator[Position]:
    """Yields the positions of the items of a listing."""
    fields = ("container", "offset", "span", "stored", "method", "crc", "reason")
    columns = {name: pc.struct_field(items["at"], name).to_pylist() for name in fields}
    paths, lengths = items["path"].to_pylist(), items["length"].to_pylist()
    for path, length, container, *rest in zip(paths, lengths, *columns.values(), strict=True):
        yield Position(original(path[:container]), length, *rest)


def in_file_order(items: pa.Table) -> pa.Table:
    """The same items by file and, in archives and tables, by their places there.

    So neighbours are read together, also if their names are in another order.

    Args:
        items: rows of :data:`fruits.sources.listing.LISTING`, with or without `at`.
    """
    if "at" not in items.column_names:
        return items
    paths = items["path"].to_pylist()
    containers = pc.struct_field(items["at"], "container").to_pylist()
    # Without a container, it is the path itself.
    files = [path[:length] for path, length in zip(paths, containers, strict=True)]
    places = pc.struct_field(items["at"], "offset")
    keys = pa.table({"file": pa.array(files, pa.string()), "place": places})
    order = pc.sort_indices(keys, [("file", "ascending"), ("place", "ascending")])
    return items.take(order)


def tables_of(
    kind: str,
    uri: str,
    modified: Any,
    members: Iterable[Member],
    naming: Naming,
    is_folder: bool = True,
) -> Iterator[pa.Table]:
    """Yields the rows of :func:`listed`, some thousand at a time."""
    rest = iter(members)
    while some := list(islice(rest, ROWS)):
        yield listed(kind, uri, modified, some, naming, is_folder)


def listed(
    kind: str,
    uri: str,
    modified: Any,
    members: Sequence[Member],
    naming: Naming,
    is_folder: bool = True,
) -> pa.Table:
    """The rows of :data:`ITEMS` for the members of one file, in the order of the members.

    Args:
        kind: the kind of reader.
        uri: the URI of the file.
        modified: when the file was last changed.
        members: the members of the file.
        naming: the rules for labels and splits.
        is_folder: whether the name of the file is the label of members outside any folder.
    """
    uri, members = storable(uri), [_storable(one) for one in members]
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
        "label": prefer_source_values([one.label for one in members], labels, has_rules(naming)),
        "split": prefer_source_values(
            [one.split for one in members], splits, naming.split == "none"
        ),
        "length": pa.array([one.length for one in members], pa.int64()),
        "modified": pa.array([modified] * len(members), pa.timestamp("us", tz="UTC")),
        "group": pa.array([one.group for one in members], pa.string()),
        "at": pa.StructArray.from_arrays(
            [pa.array(at[field.name], field.type) for field in AT], fields=list(AT)
        ),
    }
    return pa.table({name: columns[name] for name in ITEMS.names}, schema=ITEMS)


def _storable(member: Member) -> Member:
    """A member whose values fit in a table, whatever its archive says."""
    member = member._replace(name=storable(member.name))
    numbers = (member.length, member.offset, member.span, member.stored)
    if all(0 <= number < LONGEST for number in numbers):
        return member
    reason = f"damaged: it cannot have {member.length:,} bytes at byte {member.offset:,}"
    return member._replace(length=0, offset=0, span=0, stored=0, reason=member.reason or reason)


def _named(
    uri: str, keys: pa.Array, names: Sequence[str], naming: Naming, is_folder: bool
) -> tuple[pa.Array, pa.Array]:
    """Labels and splits from the names of members: two columns, null if a name has none."""
    folder = re.sub(r"(?<=[^/])\.[A-Za-z]+$", "", uri)
    paths = pa.array([f"{folder}/{name}" for name in names], pa.string())
    splits = naming.splits(paths)
    if naming.split != "none" and (own := split_of_archive(_base(folder))):
        splits = pc.fill_null(splits, own)
    # The name of a numbered shard is not a label.
    is_folder = is_folder and not NUMBERED.search(_base(folder))
    if has_rules(naming) and naming.label != "grandparent":
        return naming.labels(keys), splits
    is_folder = is_folder or partition_of(uri, "label") is not None
    return naming.labels(paths if is_folder else pa.array(names, pa.string())), splits


def side_of(word: str | None, where: str) -> str | None:
    """The side of the split that a word of a source means.

    Raises:
        InputError: the word is not the name of a side.
    """
    if not word:
        return None
    if side := SPLITS.get(word.lower()):
        return side
    raise InputError(f"{where}: wanted train, test or validation as a split; got {word!r}")


def has_rules(naming: Naming) -> bool:
    """Whether the user gave a rule for labels by name; then labels of the source are ignored."""
    return naming.label != "parent" and not naming.label.startswith(COLUMN)


def prefer_source_values(
    own: Sequence[str | None], by_name: pa.Array, rules_first: bool
) -> pa.Array:
    """The value from the source or, if there is none, the value from the name.

    Args:
        own: the values from the source, see :class:`Member`.
        by_name: the values from the names.
        rules_first: whether the user gave rules for names; then only names are used.
    """
    if rules_first:
        return by_name
    # In Unicode's normal form C, like labels from names.
    said = pc.utf8_normalize(pa.array(own, pa.string()), form="NFC")
    found = pc.coalesce(said, by_name)
    return pc.if_else(pc.equal(found, NO_VALUE), pa.scalar(None, pa.string()), found)


def normal_name(name: str) -> tuple[str, str | None]:
    """The normalised name of a member, and the reason to refuse the member, or None.

    No file is ever written under these names. A name that leads out of its archive is refused
    anyway, because the archive is malicious or damaged.
    """
    if "\0" in name:
        return name.replace("\0", "?"), "its name has a zero byte"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[\\/]", name):
        return name, "its name is an absolute path"
    if ".." in re.split(r"[\\/]", name):
        return name, "its name leads out of the archive (..)"
    return posixpath.normpath(name), None


def is_item(name: str, reason: str | None, selection: Selection) -> bool:
    """Whether a member is an image by its name; other members are counted as skipped."""
    if reason:
        return name.lower().endswith(SUFFIXES) or selection.is_image(_base(name))
    return selection.is_image(name)


def _base(name: str) -> str:
    return name.rpartition("/")[2]
