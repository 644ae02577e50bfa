"""The table of features below an output: its committed chunks, read without a lock or Spark.

A chunk counts from the moment its manifest is there, written last and whole. Manifests and moments
lie in ``features/_chunks``. Readers of Parquet skip folders whose names begin with ``_``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import OutputError, one_line
from fruits.features.rows import FEATURES, REJECTED, read_rows
from fruits.storage.files import paths_in
from fruits.storage.location import Location

if TYPE_CHECKING:
    from pyarrow import dataset

FOLDER = "_chunks"
# Small pictures of the images: for each file of rows one of the same name.
THUMBNAILS_FOLDER = "_thumbnails"
THUMBNAILS = pa.schema([("sha256", pa.string()), ("thumbnail", pa.binary())])
# Of a manifest; other files in the folder are not ours.
_MANIFEST = re.compile(r"/\d{6,}\.json$")


# A plain name, which leads nowhere else.
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*\.parquet")


# How the reason begins why an image has no features that may be readable the next time.
UNREADABLE = "unreadable"

_REMEDY = "restore it from a copy, or run again with overwrite, which extracts all features again"


@dataclass(frozen=True)
class Chunk:
    """Images that were committed together.

    Attributes:
        number: counts the commits.
        files: names of the Parquet files, in the order of their rows.
        rejected: what yielded no features, a table of :data:`REJECTED`.
        ran: what computed the features, from :func:`fruits.networks.runtime.what_ran`; empty when
            they were copied.
        replaces: numbers of chunks whose rows are in this one, and which count no longer.
    """

    number: int
    files: list[str]
    rejected: pa.Table
    ran: tuple[str, ...] = ()
    replaces: tuple[int, ...] = ()


class FeatureTable:
    """The committed features below an output folder.

    Args:
        place: the folder ``features``.

    Attributes:
        root: where it is.
    """

    def __init__(self, place: str | Location) -> None:
        self.root = Location.of(place)

    @property
    def uri(self) -> str:
        """Of the folder, as Hadoop writes it: what tasks are sent."""
        return self.root.uri

    def chunks(self) -> list[Chunk]:
        """The committed chunks, in the order of their commits.

        Raises:
            OutputError: a manifest is damaged.
        """
        found: dict[str, Chunk] = {}
        for name in self.manifests():
            with _damages(name):
                found[name] = _from_json(self.root.filesystem.cat_file(name), chunk_number(name))
        replaced = {number for chunk in found.values() for number in chunk.replaces}
        seen: set[str] = set()
        for name in [name for name, chunk in found.items() if chunk.number in replaced]:
            del found[name]
        for name, chunk in found.items():
            with _damages(name):
                if twice := seen.intersection(chunk.files):
                    raise ValueError(f"another one names {min(twice)} too")
            seen |= {*chunk.files}
        return [*found.values()]

    def files(self) -> list[str]:
        """URIs of all committed files of rows, in the order of the commits."""
        return [f"{self.uri}/{name}" for chunk in self.chunks() for name in chunk.files]

    def refused(self) -> pa.Table:
        """The images whose contents yielded no features; those that could not be read may yet."""
        tables = [chunk.rejected for chunk in self.chunks()]
        rejected = pa.concat_tables([REJECTED.empty_table(), *tables])
        return rejected.filter(pc.invert(pc.starts_with(rejected["error"], UNREADABLE)))

    def ran(self) -> list[str]:
        """What computed the committed features; more than one when processors differed."""
        return sorted({ran for chunk in self.chunks() for ran in chunk.ran})

    def thumbnails(self) -> Iterator[pa.RecordBatch]:
        """Small JPEG pictures of images, by the SHA-256 of their contents, file by file.

        Most contents come once, some more often or not at all: versions before kept none, and
        a run does not need them to continue.

        Yields:
            Batches of :data:`THUMBNAILS`.

        Raises:
            OutputError: a manifest or a file is damaged.
        """
        for name in (name for chunk in self.chunks() for name in chunk.files):
            place = self.root / THUMBNAILS_FOLDER / name
            if place.filesystem.exists(place.path):
                yield from read_rows(place, THUMBNAILS.names).to_batches()

    def manifests(self) -> list[str]:
        """Paths of the manifests, in the order of the commits."""
        return sorted(filter(_MANIFEST.search, paths_in(self.root / FOLDER)), key=chunk_number)

    def require_files(self, names: set[str]) -> None:
        """Makes sure that all committed files are among those that are there.

        Args:
            names: of the files in the folder.

        Raises:
            OutputError: one is missing.
        """
        missing = {name for chunk in self.chunks() for name in chunk.files} - names
        if missing:
            raise OutputError(
                f"output: {self.uri}/{min(missing)} is missing ({len(missing)} of the files that "
                f"{FOLDER} names): {_REMEDY}"
            )

    def side_file(self, number: int, suffix: str) -> str:
        """URI of what is kept next to the manifest of a chunk."""
        return f"{self.uri}/{FOLDER}/{number:06}.{suffix}"


def open_features(output: str) -> dataset.Dataset:
    """The features of a run, without Spark, and also while a run is active.

    Args:
        output: path or URI of the output folder.

    Returns:
        The committed rows, which are read when they are asked for: ``to_table()`` for all,
        ``to_batches()`` for one part after the other. The column ``features`` is a list of float32.

    Raises:
        OutputError: when no features are committed there, or they are damaged.
        StorageError: when the store is unknown.
    """
    # It loads pandas, which takes half a second.
    from pyarrow import dataset

    table = FeatureTable(Location.of(output) / "features")
    paths = [(table.root / name).path for chunk in table.chunks() for name in chunk.files]
    if not paths:
        raise OutputError(f"output: wanted the output of a run; no features in {table.uri}")
    store = table.root.filesystem
    try:
        # With the schema, since files of earlier versions lack a column.
        return dataset.dataset(paths, schema=FEATURES, filesystem=store, format="parquet")
    except FileNotFoundError as error:
        raise OutputError(f"output: a file is missing: {one_line(error)}; {_REMEDY}") from error
    except pa.ArrowInvalid as error:
        raise OutputError(f"output: a file is damaged: {one_line(error)}; {_REMEDY}") from error


def chunk_number(manifest: str) -> int:
    """The number of a chunk, from the path of its manifest."""
    return int(manifest.rpartition("/")[2].removesuffix(".json"))


# What reading a damaged manifest raises; Arrow's errors are among them.
_DAMAGES = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@contextmanager
def _damages(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGES as error:
        raise OutputError(
            f"output: {one_line(name)} is damaged ({one_line(error)}); {_REMEDY}"
        ) from error


def _from_json(data: bytes, number: int) -> Chunk:
    content: dict[str, Any] = json.loads(data)
    if not isinstance(content, dict):
        raise TypeError("wanted an object in JSON")
    files, ran, rejects = content["files"], content.get("ran", []), content["rejected"]
    if content["number"] != number:
        raise ValueError(f"it says that its number is {content['number']!r}")
    if not isinstance(files, list) or not isinstance(ran, list) or not isinstance(rejects, list):
        raise TypeError("wanted lists")
    for name in files:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"wanted names of Parquet files next to it; got {name!r:.100}")
    if not all(isinstance(one, str) for one in ran):
        raise TypeError("wanted what ran as strings")
    if not all(isinstance(one["path"], str) and isinstance(one["error"], str) for one in rejects):
        raise TypeError("wanted a path and an error for each reject")
    replaces = content.get("replaces", [])
    if not isinstance(replaces, list) or not all(type(n) is int and n < number for n in replaces):
        raise ValueError("wanted numbers of earlier chunks")
    rejected = pa.Table.from_pylist(rejects, REJECTED)
    return Chunk(number, files, rejected, tuple(ran), tuple(replaces))
