"""An S3 Inventory as a source: its files list a bucket, so no listing requests are needed.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from fruits.errors import InputError, one_line
from fruits.sources.archive import READS
from fruits.sources.columns import require_different
from fruits.sources.listing import Listing
from fruits.sources.naming import Naming
from fruits.sources.selection import Selection
from fruits.sources.table_source import Row, listed_files
from fruits.sources.text import storable
from fruits.storage.failures import store_errors
from fruits.storage.files import read
from fruits.storage.location import Location
from fruits.storage.parquet import parquet_table

_BUCKET, _KEY, _SIZE, _MODIFIED = "bucket", "key", "size", "lastmodifieddate"
_LATEST, _DELETED = "islatest", "isdeletemarker"


@dataclass(frozen=True)
class Inventory:
    """An S3 Inventory: a :class:`fruits.sources.source.Lister`.

    Attributes:
        place: The path or URI of its manifest.json, in S3, or of a copy next to its files.
        naming: The rules for the labels and splits of keys.
    """

    place: str
    naming: Naming = field(default_factory=Naming)

    def items(self) -> Listing:
        """Lists all images, see :meth:`fruits.sources.source.Lister.items`."""
        location = Location.of(self.place)
        manifest = _read_manifest(location)
        with ThreadPoolExecutor(READS) as pool:
            tables = list(pool.map(lambda one: _read_part(location, manifest, one), manifest.files))
        selection = Selection()
        found = dict(one for table in tables for one in _objects(table, location, selection))
        if not found:
            raise InputError(
                f"images: wanted images in the inventory {location}; got none"
                + selection.described(": ")
            )
        rows: list[Row] = [(uri, None, None, None) for uri in found]
        return Listing(
            listed_files(rows, found, self.naming).images,
            dict(sorted(selection.passed_over.items())),
        )


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


def _read_part(location: Location, manifest: _Manifest, file: tuple[str, str | None]) -> pa.Table:
    """Reads one file of an inventory; the names of its columns become lower case."""
    key, checksum = file
    uri = _uri_of(location, manifest, key)
    try:
        with store_errors(uri):
            content = read(uri)
        if checksum and hashlib.md5(content, usedforsecurity=False).hexdigest() != checksum:
            raise InputError(f"images: {uri} is not the file that {location} names: copy it again")
        if manifest.parquet:
            table = parquet_table(content)
        else:
            table = _read_csv(gzip.decompress(content), manifest.columns)
    except (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeError) as error:
        raise InputError(
            f"images: {uri}, which {location} names, cannot be read: {one_line(error)}"
        ) from error
    table = table.rename_columns([name.lower().replace("_", "") for name in table.column_names])
    _check_columns(table, location)
    return table


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


def _read_csv(content: bytes, names: list[str]) -> pa.Table:
    table = pacsv.read_csv(
        io.BytesIO(content),
        read_options=pacsv.ReadOptions(column_names=names),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    if names.count("Key") != 1:
        return table
    decoded = pa.array([unquote_plus(key) for key in table["Key"].to_pylist()], pa.string())
    return table.set_column(names.index("Key"), "Key", decoded)


def _check_columns(table: pa.Table, location: Location) -> None:
    require_different(table.column_names, location.uri)
    missing = {_BUCKET, _KEY, _SIZE, _MODIFIED} - set(table.column_names)
    if missing:
        raise InputError(
            f"images: wanted an inventory with Size and LastModifiedDate; {location} lacks "
            f"{', '.join(sorted(missing))}: add them to the inventory's optional fields"
        )


def _objects(
    table: pa.Table, location: Location, selection: Selection
) -> Iterator[tuple[str, tuple[int, Any]]]:
    """Yields the images of a part: URI, and length and time."""
    current = [
        latest and not deleted
        for latest, deleted in zip(
            _flag(table, _LATEST, missing=True), _flag(table, _DELETED, missing=False), strict=True
        )
    ]
    if old := current.count(False):
        selection.passed_over["old versions"] += old
        table = table.filter(pa.array(current))
    for bucket, key, size, time in _values(table, location):
        if not key.endswith("/") and selection.is_image(key):
            yield f"s3a://{bucket}/{key}", (size, time)


def _values(table: pa.Table, location: Location) -> Iterator[tuple[str, str, int, Any]]:
    """Bucket, key, size and time of each row."""
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
    return zip(*(column.to_pylist() for column in columns), strict=True)


def _flag(table: pa.Table, name: str, missing: bool) -> list[bool]:
    if name not in table.column_names:
        return [missing] * table.num_rows
    return [str(value).lower() == "true" for value in table[name].to_pylist()]
