"""A table of paths or URIs as a source: CSV or Parquet, with labels, splits and groups.

Relative paths start at the folder of the table. Names are literal; but if no file has the literal
name, ``%20`` is decoded to a space, as in URIs. Every row is an item, whatever its suffix, because
the author of the table has chosen it.
"""

from __future__ import annotations

import codecs
import csv
import functools
import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from fruits.errors import InputError, StorageError, one_line
from fruits.sources.columns import label_facts, path_column, path_texts, require_different
from fruits.sources.listing import Listing
from fruits.sources.members import AT, ITEMS, REFUSED, has_rules, prefer_source_values
from fruits.sources.naming import Naming
from fruits.sources.statuses import refusal, statuses
from fruits.storage.failures import store_errors
from fruits.storage.files import read
from fruits.storage.location import Location
from fruits.storage.parquet import parquet_table
from fruits.storage.walk import Entry

# Of a table with more rows, some are looked up first, because a store that refuses them all would
# be asked for each. If it has a tenth of the files, it almost certainly has one of these.
_MANY = 1000
_FIRST = 64


@dataclass(frozen=True)
class Table:
    """A table of paths: a :class:`fruits.sources.source.Lister`.

    Attributes:
        place: The path or URI of the table, which ends in .csv, .tsv or .parquet.
        naming: The rules for labels and splits, by path or by column.
    """

    place: str
    naming: Naming = field(default_factory=Naming)

    def items(self) -> Listing:
        """Lists all images, see :meth:`fruits.sources.source.Lister.items`."""
        location = Location.of(self.place)
        table = read_table(location)
        column = path_column(table.column_names, location.uri)
        try:
            facts = label_facts(table, self.naming, location.uri)
            paths = path_texts(table, column, location.uri)
        except (pa.ArrowException, UnicodeError) as error:
            raise _unreadable(location, error) from error
        uris, found, forbidden = _looked_up(_resolved(paths, location))
        if not found:
            raise forbidden or InputError(_nothing(location, uris))
        rows = list(zip(uris, *facts.values(), strict=True))
        return listed_files(
            rows, {uri: (e.length, e.modified) for uri, e in found.items()}, self.naming
        )


def _looked_up(uris: list[str]) -> tuple[list[str], dict[str, Entry], StorageError | None]:
    """The URIs, decoded if only the decoded name exists, and the entries of existing files.

    The last value is the error of a forbidden file, or None.

    Raises:
        StorageError: the store cannot be used, or refuses each of some files of a long table.
    """
    if len(uris) > _MANY:
        spread = uris[:: len(uris) // _FIRST]
        # Without permission to list, a missing name is forbidden, too: the other one may exist.
        if error := refusal(dict.fromkeys(n for uri in spread for n in (uri, unquote(uri)))):
            raise error
    found, forbidden = statuses(dict.fromkeys(uris))
    decoded = {uri: unquote(uri) for uri in uris if "%" in uri and uri not in found}
    there, _ = statuses(dict.fromkeys(decoded.values()))
    uris = [decoded[uri] if decoded.get(uri) in there else uri for uri in uris]
    return uris, found | there, forbidden


def _nothing(location: Location, uris: list[str]) -> str:
    """The message for a table of which no file exists."""
    folder = location.uri.rpartition("/")[0] + "/"
    hint = "check the paths, and whether the files may be read"
    if "\\" in uris[0]:
        hint = "write / between folders; \\ is part of a name"
    elif uris[0].startswith(folder):
        hint = f"relative paths start at {folder}, the folder of the table"
    return (
        f"images: wanted a table of existing files; none of the {len(set(uris)):,} files of "
        f"{location} exists, such as {uris[0]}: {hint}"
    )


Row = tuple[str, str | None, str | None, str | None]


def listed_files(
    rows: list[Row], identities: dict[str, tuple[int, Any]], naming: Naming
) -> Listing:
    """The listing of files that are known by name.

    A repeated row counts once. A file with different labels is refused, because it is unknown which
    one is right.

    Args:
        rows: the URI, label, split and group of each row.
        identities: the length and the modification time of each existing file, by URI.
        naming: the rules for labels and splits.
    """
    different = dict.fromkeys(rows)
    counts = Counter(row[0] for row in different)
    by_uri = sorted({row[0]: row for row in different}.values())
    uris, labels, splits, groups = (list(column) for column in zip(*by_uri, strict=True))
    paths = pa.array(uris, pa.string())
    missing = (0, 0)  # A missing file is listed; reading it raises the error.
    at = [
        {"kind": REFUSED, "reason": "two rows of the table have different values for it"}
        if counts[uri] > 1
        else None
        for uri in uris
    ]
    columns = {
        "path": paths,
        "label": prefer_source_values(labels, naming.labels(paths), has_rules(naming)),
        "split": prefer_source_values(splits, naming.splits(paths), naming.split == "none"),
        "length": pa.array([identities.get(uri, missing)[0] for uri in uris], pa.int64()),
        "modified": pa.array(
            [identities.get(uri, missing)[1] for uri in uris], pa.timestamp("us", tz="UTC")
        ),
        "group": pa.array(groups, pa.string()),
        "at": pa.array(at, AT),
    }
    images = pa.table({name: columns[name] for name in ITEMS.names}, schema=ITEMS)
    repeated = len(rows) - len(by_uri)
    return Listing(images, {"repeated rows": repeated} if repeated else {})


def read_table(location: Location) -> pa.Table:
    """Reads a CSV or Parquet file; the columns of CSV are strings, not converted.

    Raises:
        InputError: the file is missing or damaged, or has no rows.
        StorageError: the store cannot be used.
    """
    try:
        with store_errors(location.uri):
            content = read(location.uri)
        if location.path.lower().endswith(".parquet"):
            table = parquet_table(content)
        else:
            table = _read_csv(content, location.uri)
    except FileNotFoundError:
        raise InputError(f"images: wanted a table of paths; {location} does not exist") from None
    except (OSError, pa.ArrowException, UnicodeError, csv.Error) as error:
        raise _unreadable(location, error) from error
    require_different(table.column_names, location.uri)
    if not table.num_rows:
        raise InputError(f"images: wanted a table of paths; {location} has no rows")
    return table


def _unreadable(location: Location, error: Exception) -> InputError:
    return InputError(
        f"images: wanted a table of paths; {location} cannot be read ({one_line(error)}): "
        "write it as CSV in UTF-8 with the names of the columns in the first line, or as Parquet"
    )


def _read_csv(content: bytes, uri: str) -> pa.Table:
    text = content.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n").partition(b"\n")[0].decode()
    delimiter = max(",;\t|", key=text.count)
    names = next(csv.reader([text], delimiter=delimiter), [])
    require_different(names, uri)
    table = pacsv.read_csv(
        io.BytesIO(content),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    columns = [_whole(_without_indent(column)) for column in table.columns]
    return pa.table(columns, [name.strip() for name in table.column_names])


def _without_indent(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Removes the space that some programs write after each delimiter."""
    if not pa.types.is_string(column.type):
        return column
    indented = pc.or_(pc.starts_with(column, " "), pc.equal(column, ""))
    return pc.utf8_ltrim(column, characters=" ") if pc.all(indented).as_py() else column


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of whole numbers of which pandas made fractions, since some are missing."""
    if not pa.types.is_string(column.type):
        return column
    wholes = pc.match_substring_regex(column, r"^\s*-?\d+\.0\s*$")
    empty = pc.equal(column, "")
    if not pc.any(wholes).as_py() or not pc.all(pc.or_(wholes, empty)).as_py():
        return column
    return pc.replace_substring_regex(column, r"\.0\s*$", "")


def _resolved(paths: list[str | None], table: Location) -> list[str]:
    """The URIs of paths; relative paths start at the folder of the table.

    Raises:
        InputError: a row has no path, or an invalid one.
    """
    base = Location(table.filesystem, table.path.rpartition("/")[0], table.uri.rpartition("/")[0])

    # Once for each folder, because there are few.
    @functools.cache
    def folder_of(folder: str) -> str:
        if folder.startswith("/") or ":" in folder.partition("/")[0]:
            return Location.of(folder or "/").uri
        if folder.startswith("~"):
            return f"{base.uri}/{folder}"
        return Location.of(f"{base.uri}/{folder}").uri if folder else base.uri

    found = []
    for number, path in enumerate(paths, start=1):
        folder, slash, name = (path or "").rpartition("/")
        if not name or name in (".", "..") or "\0" in name:
            raise InputError(
                f"images: wanted a path of a file; row {number} of {table} has {path!r}"
            )
        try:
            found.append(f"{folder_of(folder or slash).rstrip('/')}/{name}")
        except StorageError as error:
            raise InputError(f"images: row {number} of {table}: {error}") from error
    return found
