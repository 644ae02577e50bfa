"""A table of paths or URIs as a source: CSV or Parquet, with labels, splits and groups.

A path that is relative begins at the folder of the table. Names are literal. Every row is an item,
whatever its suffix: somebody has chosen it.
"""

from __future__ import annotations

import csv
import functools
import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from fruits.errors import InputError, StorageError, one_line
from fruits.sources.columns import path_column, require_different, said
from fruits.sources.listing import Listing
from fruits.sources.members import AT, ITEMS, REFUSED, has_rules, preferred
from fruits.sources.naming import Naming
from fruits.sources.statuses import statuses
from fruits.storage.failures import store_errors
from fruits.storage.files import read
from fruits.storage.location import Location


@dataclass(frozen=True)
class Table:
    """A table of paths: a :class:`fruits.sources.source.Lister`.

    Attributes:
        place: its path or URI; it ends in .csv, .tsv or .parquet.
        naming: the rules by which paths give labels and splits, or the columns that have them.
    """

    place: str
    naming: Naming = field(default_factory=Naming)

    def items(self) -> Listing:
        """Every image in it: see :meth:`fruits.sources.source.Lister.items`."""
        location = Location.of(self.place)
        table = read_table(location)
        column = path_column(table.column_names, location.uri)
        try:
            facts = said(table, self.naming, location.uri)
            paths = table[column].cast(pa.string()).to_pylist()
        except (pa.ArrowException, UnicodeError) as error:
            raise _unreadable(location, error) from error
        uris = _resolved(paths, location)
        rows = list(zip(uris, *facts.values(), strict=True))
        found = statuses(dict.fromkeys(uris))
        return listed_files(
            rows, {uri: (e.length, e.modified) for uri, e in found.items()}, self.naming
        )


Row = tuple[str, str | None, str | None, str | None]


def listed_files(
    rows: list[Row], identities: dict[str, tuple[int, Any]], naming: Naming
) -> Listing:
    """The listing of files that are known by name.

    A row that comes twice is counted once; a file with two labels is refused, as nobody knows
    which one is right.

    Args:
        rows: of each, the URI of a file, label, split and group.
        identities: of each file that is there, its length and when it was changed.
        naming: the rules by which paths give labels and splits.
    """
    different = dict.fromkeys(rows)
    counts = Counter(row[0] for row in different)
    by_uri = sorted({row[0]: row for row in different}.values())
    uris, labels, splits, groups = (list(column) for column in zip(*by_uri, strict=True))
    paths = pa.array(uris, pa.string())
    missing = (0, 0)  # It is read all the same, and says then why it cannot be.
    at = [
        {"kind": REFUSED, "reason": "the table has it in two rows that do not say the same of it"}
        if counts[uri] > 1
        else None
        for uri in uris
    ]
    columns = {
        "path": paths,
        "label": preferred(labels, naming.labels(paths), has_rules(naming)),
        "split": preferred(splits, naming.splits(paths), naming.split == "none"),
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
    """A CSV or Parquet file; the columns of a CSV are texts, as they are written.

    Raises:
        InputError: there is no such file, it is damaged or has no rows.
        StorageError: the store cannot be used.
    """
    try:
        with store_errors(location.uri):
            content = read(location.uri)
        if location.path.lower().endswith(".parquet"):
            table = pq.read_table(io.BytesIO(content), partitioning=None)
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
        "write it as CSV in UTF-8 with one line of names, or as Parquet"
    )


def _read_csv(content: bytes, uri: str) -> pa.Table:
    text = content.partition(b"\n")[0].decode("utf-8-sig")
    delimiter = max(",;\t", key=text.count)
    names = next(csv.reader([text], delimiter=delimiter), [])
    require_different(names, uri)
    return pacsv.read_csv(
        io.BytesIO(content),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )


def _resolved(paths: list[str | None], table: Location) -> list[str]:
    """The URIs of paths, those that are relative beginning at the folder of the table.

    Raises:
        InputError: a row has no path, or one that cannot be.
    """
    base = Location(table.filesystem, table.path.rpartition("/")[0], table.uri.rpartition("/")[0])

    # Once for each folder, as these are few.
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
