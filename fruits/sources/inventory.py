"""An S3 Inventory as a source: its files list a bucket, so no listing requests are needed.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote_plus

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from fruits.errors import InputError, one_line
from fruits.sources.archive import READS
from fruits.sources.columns import require_different
from fruits.sources.listing import ROWS
from fruits.sources.named_files import NAMED, described, last_of_each_path
from fruits.sources.naming import Naming
from fruits.sources.parquet_index import open_parquet
from fruits.sources.parts import Found
from fruits.sources.selection import Selection, other_files
from fruits.sources.spread import gather
from fruits.sources.text import storable
from fruits.storage.ahead import read_ahead
from fruits.storage.failures import store_errors
from fruits.storage.files import local_file, read
from fruits.storage.location import Location

_BUCKET, _KEY, _SIZE, _MODIFIED = "bucket", "key", "size", "lastmodifieddate"
_LATEST, _DELETED = "islatest", "isdeletemarker"
_USED = {_BUCKET, _KEY, _SIZE, _MODIFIED, _LATEST, _DELETED}

# Not for security: a file may be incomplete.
_md5 = partial(hashlib.md5, usedforsecurity=False)


def list_inventory(place: str, naming: Naming) -> Found:
    """Lists the images in an S3 Inventory, see :func:`fruits.sources.open_source.list_place`.

    Args:
        place: the path or URI of its manifest.json, in S3, or of a copy next to its files.
        naming: the rules for the labels and splits of keys.
    """
    location = Location.of(place)
    manifest = _read_manifest(location)
    selection = Selection()

    def listed(part: pa.Table) -> pa.Table:
        files = last_of_each_path(part)
        if repeated := part.num_rows - files.num_rows:
            selection.pass_over("repeated rows", repeated)
        return described(files, naming, np.zeros(files.num_rows, bool))

    with closing(_tables(location, manifest)) as tables:
        objects = (_objects(rows, location, selection) for rows in tables)
        images = gather(objects, NAMED, sort=True, change=listed)
    if not images.num_rows:
        raise InputError(
            f"images: wanted images in the inventory {location}; got none"
            + other_files(selection.passed_over, ":")
        )
    return Found(images, selection.passed_over)


def is_manifest(content: bytes) -> bool:
    """Whether the content of a JSON file is the manifest of an inventory."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"fileFormat", "fileSchema", "files"} <= found.keys()


@dataclass(frozen=True)
class _Manifest:
    """The content of a manifest.

    Attributes:
        parquet: Whether its files are Parquet; otherwise they are CSV, compressed with gzip.
        columns: The names of the columns of CSV.
        bucket: The bucket that contains its files.
        files: The key of each file, and its MD5 or None.
    """

    parquet: bool
    columns: list[str]
    bucket: str
    files: list[tuple[str, str | None]]

    @classmethod
    def of(cls, content: bytes, location: Location) -> _Manifest:
        """Reads a manifest; raises InputError if it is another file or damaged."""
        if not is_manifest(content):
            raise InputError(
                f"images: wanted the manifest.json of an S3 Inventory; {location} is another file"
            )
        try:
            found = json.loads(content)
            kind = str(found["fileFormat"])
            if kind.lower() not in ("csv", "parquet"):
                raise InputError(
                    f"images: wanted an inventory in CSV or Parquet; {location} is in {kind}: "
                    "choose another format for the inventory"
                )
            files = [(storable(one["key"]), one.get("MD5checksum")) for one in found["files"]]
            columns = [name.strip() for name in found["fileSchema"].split(",")]
            bucket = storable(found.get("destinationBucket", ""))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"images: {location} is damaged ({type(error).__name__}: {one_line(error)}): "
                "copy it again"
            ) from error
        return cls(kind.lower() == "parquet", columns, bucket.rpartition(":::")[2], files)


def _read_manifest(location: Location) -> _Manifest:
    try:
        with store_errors(location.uri):
            content = read(location.uri)
    except OSError as error:
        raise InputError(f"images: {location} cannot be read: {one_line(error)}") from error
    return _Manifest.of(content, location)


def _tables(location: Location, manifest: _Manifest) -> Generator[pa.Table]:
    """Yields the rows of all files; the names of columns become lower case.

    The next files are copied from the store meanwhile.
    """
    jobs = ((1, partial(_opened, location, manifest, *file)) for file in manifest.files)
    read = _read_parquet if manifest.parquet else _read_csv
    with closing(read_ahead(jobs, READS, READS)) as ahead:
        for uri, path, copy in ahead:
            with copy, _readable(uri, location):
                for table in read(path, manifest.columns):
                    names = [name.lower().replace("_", "") for name in table.column_names]
                    table = table.rename_columns(names)
                    _check_columns(table, location)
                    yield table


def _opened(
    location: Location, manifest: _Manifest, key: str, checksum: str | None
) -> tuple[str, str, ExitStack]:
    """The URI of a file, its local path, and what deletes its local copy."""
    uri = _uri_of(location, manifest, key)
    with _readable(uri, location), ExitStack() as copy:
        path = copy.enter_context(local_file(uri))
        if checksum:
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, _md5).hexdigest()
            if found != checksum:
                raise InputError(
                    f"images: {uri} is not the file that {location} names: copy it again"
                )
        return uri, path, copy.pop_all()


@contextmanager
def _readable(uri: str, location: Location) -> Iterator[None]:
    """Reports errors of reading a file of an inventory."""
    try:
        with store_errors(uri):
            yield
    except FileNotFoundError:
        raise InputError(
            f"images: {uri}, which {location} names, does not exist: copy it, too"
        ) from None
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise InputError(
            f"images: {uri}, which {location} names, cannot be read: {one_line(error)}"
        ) from error


def _uri_of(location: Location, manifest: _Manifest, key: str) -> str:
    """The URI of a file of an inventory: in S3, or relative to a copy of the manifest."""
    if location.is_s3:
        return f"s3a://{manifest.bucket}/{key}"
    folder = location.uri.rpartition("/")[0]
    name = key.rpartition("/")[2]
    sibling = Location.of(f"{folder}/{name}")
    if sibling.filesystem.exists(sibling.path):
        return sibling.uri
    # The layout in S3: .../config/2026-01-01T00-00Z/manifest.json and .../config/data/x.csv.gz.
    return f"{folder.rpartition('/')[0]}/data/{name}"


def _read_parquet(path: str, _: list[str]) -> Iterator[pa.Table]:
    with open_parquet(Location.of(path), 0) as file:
        names = [one for one in file.schema_arrow.names if one.lower().replace("_", "") in _USED]
        yield file.schema_arrow.empty_table()
        for batch in file.iter_batches(ROWS, columns=names, use_threads=False):
            yield pa.table(batch)


def _read_csv(path: str, names: list[str]) -> Iterator[pa.Table]:
    with (
        pa.CompressedInputStream(pa.OSFile(os.fsencode(path)), "gzip") as stream,
        pacsv.open_csv(
            stream,
            read_options=pacsv.ReadOptions(column_names=names),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        ) as batches,
    ):
        for batch in batches:
            table = pa.table(batch)
            if names.count("Key") == 1:
                keys = [unquote_plus(key) for key in table["Key"].to_pylist()]
                decoded = pa.array(keys, pa.string())
                table = table.set_column(names.index("Key"), "Key", decoded)
            yield table


def _check_columns(table: pa.Table, location: Location) -> None:
    require_different(table.column_names, location.uri)
    missing = {_BUCKET, _KEY, _SIZE, _MODIFIED} - set(table.column_names)
    if missing:
        raise InputError(
            f"images: wanted an inventory with Size and LastModifiedDate; {location} lacks "
            f"{', '.join(sorted(missing))}: add them to the inventory's optional fields"
        )


def _objects(table: pa.Table, location: Location, selection: Selection) -> pa.Table:
    """The images among some rows, as rows of :data:`NAMED`."""
    current = [
        latest and not deleted
        for latest, deleted in zip(
            _flag(table, _LATEST, missing=True), _flag(table, _DELETED, missing=False), strict=True
        )
    ]
    if old := current.count(False):
        selection.pass_over("old versions", old)
        table = table.filter(pa.array(current))
    buckets, keys, sizes, times = _values(table, location)
    names = list(zip(buckets.to_pylist(), keys.to_pylist(), strict=True))
    # An empty object whose key ends in / represents a folder.
    mine = [
        (size > 0 or not key.endswith("/")) and selection.is_image(key)
        for (_, key), size in zip(names, sizes.to_pylist(), strict=True)
    ]
    uris = [f"s3a://{bucket}/{key}" for bucket, key in itertools.compress(names, mine)]
    mask = pa.array(mine, pa.bool_())
    columns = {"path": uris, "length": sizes.filter(mask), "modified": times.filter(mask)}
    nothing = pa.nulls(len(uris), pa.string())
    return pa.table({name: columns.get(name, nothing) for name in NAMED.names}, schema=NAMED)


def _values(table: pa.Table, location: Location) -> list[pa.ChunkedArray]:
    """The columns of bucket, key, size and time."""
    times, numbers = pa.timestamp("us", tz="UTC"), pa.int64()
    kinds = {_BUCKET: pa.string(), _KEY: pa.string(), _SIZE: numbers, _MODIFIED: times}
    try:
        columns = [pc.cast(table[name], kind) for name, kind in kinds.items()]
    except pa.ArrowException as error:
        raise InputError(
            f"images: {location} names a file that is not an inventory ({one_line(error)}): "
            "copy it again"
        ) from error
    if any(column.null_count for column in columns):
        raise InputError(
            f"images: {location} names a file with a row without bucket, key, size or time: "
            "copy it again"
        )
    return columns


def _flag(table: pa.Table, name: str, missing: bool) -> list[bool]:
    if name not in table.column_names:
        return [missing] * table.num_rows
    return [str(value).lower() == "true" for value in table[name].to_pylist()]
