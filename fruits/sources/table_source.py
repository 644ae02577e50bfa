"""A table of paths or URIs as a source: CSV or Parquet, with labels, splits and groups.

Relative paths start at the folder of the table. Names are literal; but if no file has the literal
name, ``%20`` is decoded to a space, as in URIs. Every row is an item, whatever its suffix, because
the author of the table has chosen it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import unquote

import pyarrow as pa

from fruits.errors import InputError, StorageError, one_line
from fruits.sources.columns import fact_columns, facts_of, path_column, path_texts
from fruits.sources.named_files import NAMED, described, distinct
from fruits.sources.naming import Naming
from fruits.sources.parts import Found, Parts
from fruits.sources.spread import gather
from fruits.sources.statuses import refusal, statuses
from fruits.sources.table_file import TableFile, open_table
from fruits.storage.failures import store_errors
from fruits.storage.location import Location, is_absolute
from fruits.storage.walk import Entry

# Of a table with more rows, some are looked up first, because a store that refuses them all would
# be asked for each. If it has a tenth of the files, it almost certainly has one of these.
_MANY = 1000
_FIRST = 64

# The most folders whose URIs are kept, because neighbouring rows are mostly in the same ones.
_FOLDERS = 10_000

_ROWS = pa.schema([NAMED.field(name) for name in ("path", "label", "split", "group")])


def list_table(place: str, naming: Naming) -> Found:
    """Lists the images that a table names, see :func:`fruits.sources.open_source.list_place`."""
    location = Location.of(place)
    with ExitStack() as opened:
        with _readable(location):
            table = opened.enter_context(open_table(location))
        reading = _Rows(table, location, naming)
        rows = gather(reading.tables(), _ROWS, sort=True)
    # Without permission to list, a missing name is forbidden, too: the other one may exist.
    names = dict.fromkeys(name for uri in reading.spread for name in (uri, unquote(uri)))
    if error := refusal(names):
        raise error
    files = _Files(rows)
    repeated = [0]

    def listed(part: pa.Table) -> pa.Table:
        one_of_each, differ = distinct(part)
        repeated[0] += part.num_rows - one_of_each.num_rows
        return described(one_of_each, naming, differ)

    # A decoded name may belong to another part.
    images = gather(files.tables(), NAMED, sort=True, change=listed)
    if not files.exist:
        raise files.forbidden or InputError(_nothing(location, reading.first, files.count))
    return Found(images, {"repeated rows": repeated[0]} if repeated[0] else {})


class _Rows:
    """The rows of a table.

    Attributes:
        first: The URI of the first row.
        spread: The URIs of some rows of a long table.
    """

    def __init__(self, table: TableFile, location: Location, naming: Naming) -> None:
        if not table.rows:
            raise InputError(f"images: wanted a table of paths; {location} has no rows")
        self.first = ""
        self.spread: list[str] = []
        self._table = table
        self._location = location
        names = table.schema.names
        self._path = path_column(names, location.uri)
        self._facts = fact_columns(table.schema, naming, location.uri)

    def tables(self) -> Iterator[pa.Table]:
        """Yields the URI of each row, and its label, split and group, as in the table.

        Raises:
            InputError: the table cannot be read; or a row has no path, or an invalid one, or an
                unknown split.
        """
        uri_of = _resolver(self._location)
        step = self._table.rows // _FIRST if self._table.rows > _MANY else 0
        columns = {self._path, *(name for name in self._facts.values() if name)}
        done = 0
        with _readable(self._location):
            for rows in self._table.batches([*columns]):
                facts = facts_of(rows, self._facts, self._location.uri)
                paths = path_texts(rows, self._path, self._location.uri)
                uris = [uri_of(number, path) for number, path in enumerate(paths, start=done + 1)]
                if step:
                    self.spread += uris[-done % step :: step]
                self.first = self.first or next(iter(uris), "")
                done += len(uris)
                yield pa.table({"path": uris, **facts}, schema=_ROWS)


class _Files:
    """The files that rows of a table name.

    Args:
        rows: The rows, sorted by path.

    Attributes:
        exist: Whether a file exists.
        forbidden: The error of a forbidden file, or None.
        count: The number of different names.
    """

    def __init__(self, rows: Parts) -> None:
        self.exist = False
        self.forbidden: StorageError | None = None
        self.count = 0
        self._rows = rows

    def tables(self) -> Iterator[pa.Table]:
        """Yields rows of :data:`NAMED`: the length and the time of each file; 0 if it is missing.

        A missing file is listed, because reading it raises the error. A name is decoded if only the
        decoded name exists.

        Raises:
            StorageError: the store cannot be used.
        """
        for rows in self._rows:
            uris = rows["path"].to_pylist()
            names = dict.fromkeys(uris)
            found, forbidden = statuses(names)
            decoded = {name: unquote(name) for name in names if "%" in name and name not in found}
            there, _ = statuses(dict.fromkeys(decoded.values()))
            self.count += len(names)
            self.exist = self.exist or bool(found or there)
            self.forbidden = self.forbidden or forbidden
            uris = [decoded[uri] if decoded.get(uri) in there else uri for uri in uris]
            missing = Entry("")
            entries = [found.get(uri) or there.get(uri) or missing for uri in uris]
            columns = {name: rows[name] for name in ("label", "split", "group")} | {
                "path": pa.array(uris, pa.string()),
                "length": pa.array([entry.length for entry in entries], pa.int64()),
                "modified": pa.array([e.modified for e in entries], NAMED.field("modified").type),
            }
            yield pa.table({name: columns[name] for name in NAMED.names}, schema=NAMED)


def _nothing(location: Location, first: str, count: int) -> str:
    """The message for a table of which no file exists."""
    folder = location.uri.rpartition("/")[0] + "/"
    hint = "check the paths, and whether the files may be read"
    if "\\" in first:
        hint = "write / between folders; \\ is part of a name"
    elif first.startswith(folder):
        hint = f"relative paths start at {folder}, the folder of the table"
    return (
        f"images: wanted a table of existing files; none of the {count:,} files of "
        f"{location} exists, such as {first}: {hint}"
    )


@contextmanager
def _readable(table: Location) -> Iterator[None]:
    """Reports errors of reading a table."""
    try:
        with store_errors(table.uri):
            yield
    except FileNotFoundError:
        raise InputError(f"images: wanted a table of paths; {table} does not exist") from None
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise InputError(
            f"images: wanted a table of paths; {table} cannot be read ({one_line(error)}): "
            "write it as CSV in UTF-8 with the names of the columns in the first line, or as "
            "Parquet"
        ) from error


def _resolver(table: Location) -> Callable[[int, str | None], str]:
    """A function that returns the URI of a path; relative paths start at the folder of the table.

    It gets the number of the row and the path, and raises InputError if there is none, or an
    invalid one.
    """
    base = Location(table.filesystem, table.path.rpartition("/")[0], table.uri.rpartition("/")[0])

    @functools.lru_cache(_FOLDERS)
    def folder_of(folder: str) -> str:
        if not folder or folder.startswith("~"):
            return f"{base.uri}/{folder}".rstrip("/")
        place = folder if is_absolute(f"{folder}/") else f"{base.uri}/{folder}"
        location = Location.of(f"{place}/")  # Without the slash, file: is not file:/, the root.
        if location.is_s3:
            # A location leaves out empty names, but b//1.jpg and b/1.jpg are different objects.
            return "s3a:" + place.partition(":")[2]
        return location.uri.rstrip("/")

    def uri_of(number: int, path: str | None) -> str:
        folder, slash, name = (path or "").rpartition("/")
        if not name or name in (".", "..") or "\0" in name:
            raise InputError(
                f"images: wanted a path of a file; row {number} of {table} has {path!r}"
            )
        try:
            return f"{folder_of(folder or slash)}/{name}"
        except StorageError as error:
            raise InputError(f"images: row {number} of {table}: {error}") from error

    return uri_of
