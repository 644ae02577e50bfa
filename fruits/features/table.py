"""The table of features in an output: its committed chunks, read without a lock or Spark.

A chunk is committed when its manifest exists, which is written last and atomically. Neither the
manifest nor the files that it names ever change: a chunk with other rows replaces it. Manifests and
moments are in ``features/_chunks``, and rejects in ``features/_rejected``. Parquet readers skip
folders whose names begin with ``_``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fruits.errors import OutputError, one_line
from fruits.features.file_groups import file_sizes
from fruits.features.rejects import RejectFile, Rejects, without_unreadable
from fruits.features.rows import FEATURES, REJECTED, read_batches
from fruits.storage.files import paths_in
from fruits.storage.location import Location

if TYPE_CHECKING:
    from pyarrow import dataset

CHUNKS_FOLDER = "_chunks"
# Has one file of thumbnails for each file of rows, with the same name.
THUMBNAILS_FOLDER = "_thumbnails"
THUMBNAILS = pa.schema([("sha256", pa.string()), ("thumbnail", pa.binary())])
# The end of a manifest's path; other files in the folder are ignored.
_MANIFEST = re.compile(r"/\d{6,}\.json$")


# A plain file name, which cannot lead to another folder.
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*\.parquet")


_REMEDY = "restore it from a copy, or run again with overwrite, which extracts all features again"


@dataclass(frozen=True)
class Chunk:
    """Images that were committed together.

    Attributes:
        number: The number of the commit.
        files: The names of the Parquet files, in the order of their rows.
        rejected: The rejected images, whose rows are not in memory.
        ran: What computed the features, from :func:`fruits.networks.runtime.what_ran`; empty if
            they were copied.
        replaces: The numbers of the chunks that this one replaces, and of those that they replaced.
            Such a chunk never counts again, not even if its manifest is written late.
    """

    number: int
    files: list[str]
    rejected: Rejects
    ran: tuple[str, ...] = ()
    replaces: tuple[int, ...] = ()

    @property
    def all_files(self) -> list[str]:
        """The names of the files of rows and of rejects, relative to the folder ``features``."""
        return [*self.files, *self.rejected.names]


class FeatureTable:
    """The committed features in an output folder.

    The manifests are read once, on the first access; later commits of other processes are not seen.

    Args:
        place: the folder ``features``.

    Attributes:
        root: The location of the folder.
    """

    def __init__(self, place: Location) -> None:
        self.root = place

    @property
    def uri(self) -> str:
        """The URI of the folder, as Hadoop writes it."""
        return self.root.uri

    def chunks(self) -> list[Chunk]:
        """The committed chunks, in the order of their commits.

        Raises:
            OutputError: a manifest is damaged.
        """
        return [*self._committed.values()]

    @cached_property
    def _committed(self) -> dict[int, Chunk]:
        """The committed chunks by number, in ascending order."""
        while True:
            names = self.manifests()
            try:
                return self._read(names)
            except FileNotFoundError:
                # A run that is active deletes manifests after it has replaced them.
                if names == self.manifests():
                    raise

    def _read(self, names: list[str]) -> dict[int, Chunk]:
        """The chunks that count, from the paths of all manifests in ascending order."""
        found: dict[str, Chunk] = {}
        replaced: set[int] = set()
        # The last one first: what is replaced does not count, nor does what it replaces.
        for name in reversed(names):
            if (number := chunk_number(name)) in replaced:
                continue
            with _damages(name):
                found[name] = _from_json(self.root.filesystem.cat_file(name), number, self.root)
            replaced.update(found[name].replaces)
        seen: set[str] = set()
        for name, chunk in reversed(found.items()):
            with _damages(name):
                if twice := seen.intersection(chunk.files):
                    raise ValueError(f"another one names {min(twice)} too")
            seen |= {*chunk.files}
        return {chunk.number: chunk for chunk in reversed(found.values())}

    def files(self) -> list[Location]:
        """The committed files of rows, in the order of the commits."""
        return [self.root / name for chunk in self.chunks() for name in chunk.files]

    def file_sizes(self) -> dict[str, int]:
        """The bytes of the committed files, by name, in the order of the commits."""
        sizes = file_sizes(self.root)
        return {name: sizes.get(name, 0) for chunk in self.chunks() for name in chunk.files}

    def dataset(self) -> dataset.Dataset:
        """The committed rows, which are read on request.

        Returns:
            A dataset: ``to_table()`` reads all rows, ``to_batches()`` reads them part by part. The
            column ``features`` is a list of float32.

        Raises:
            OutputError: no features are committed, or they are damaged.
        """
        # Imported here because it loads pandas, which takes half a second.
        from pyarrow import dataset

        paths = [(self.root / name).path for chunk in self.chunks() for name in chunk.files]
        if not paths:
            raise OutputError(f"output: wanted the output of a run; no features in {self.uri}")
        store = self.root.filesystem
        try:
            # An explicit schema, because files of earlier versions lack a column.
            return dataset.dataset(paths, schema=FEATURES, filesystem=store, format="parquet")
        except FileNotFoundError as error:
            raise OutputError(f"output: a file is missing: {one_line(error)}; {_REMEDY}") from error
        except pa.ArrowInvalid as error:
            raise OutputError(f"output: a file is damaged: {one_line(error)}; {_REMEDY}") from error

    def refused(self) -> Iterator[pa.Table]:
        """Yields the rejected images, file by file, as tables of :data:`REJECTED`.

        Images that could not be read are left out, because they may be readable later.

        Raises:
            OutputError: a manifest or a file is damaged.
        """
        for chunk in self.chunks():
            for rows in chunk.rejected.tables():
                yield without_unreadable(rows)

    def ran(self) -> list[str]:
        """What computed the committed features; more than one entry if processors differed."""
        return sorted({ran for chunk in self.chunks() for ran in chunk.ran})

    def thumbnails(self) -> Iterator[pa.RecordBatch]:
        """Yields JPEG thumbnails with the SHA-256 of the images' contents, file by file.

        Most contents have one thumbnail, some have several or none: earlier versions made no
        thumbnails, and a run does not need them to continue.

        Yields:
            Batches of :data:`THUMBNAILS`.

        Raises:
            OutputError: a manifest or a file is damaged.
        """
        folder = self.root / THUMBNAILS_FOLDER
        # One listing, because a store needs a request to look for each file.
        there = {path.rpartition("/")[2] for path in paths_in(folder)}
        for name in (name for chunk in self.chunks() for name in chunk.files):
            if name in there:
                yield from read_batches(folder / name, THUMBNAILS.names)

    def manifests(self) -> list[str]:
        """The paths of the manifests, in the order of the commits."""
        return sorted(
            filter(_MANIFEST.search, paths_in(self.root / CHUNKS_FOLDER)), key=chunk_number
        )

    def require_files(self, names: set[str]) -> None:
        """Checks that all committed files exist.

        Args:
            names: the names of the existing files of rows and of rejects, relative to the folder.

        Raises:
            OutputError: a committed file is missing.
        """
        missing = {name for chunk in self.chunks() for name in chunk.all_files} - names
        if missing:
            raise OutputError(
                f"output: {self.uri}/{min(missing)} is missing ({len(missing)} of the files that "
                f"{CHUNKS_FOLDER} names): {_REMEDY}"
            )

    def side_file(self, number: int, suffix: str) -> Location:
        """The location of a file next to the manifest of a chunk."""
        return self.root / CHUNKS_FOLDER / f"{number:06}.{suffix}"


def open_features(output: str) -> dataset.Dataset:
    """Opens the features of a run without Spark; works also while a run is active.

    Args:
        output: path or URI of the output folder.

    Returns:
        The committed rows, see :meth:`FeatureTable.dataset`.

    Raises:
        OutputError: no features are committed there, or they are damaged.
        StorageError: the store is unknown.
    """
    return FeatureTable(Location.of(output) / "features").dataset()


def chunk_number(manifest: str) -> int:
    """The number of a chunk, from the path of its manifest."""
    return int(manifest.rpartition("/")[2].removesuffix(".json"))


# The errors of reading a damaged manifest; they include Arrow's errors.
_DAMAGES = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@contextmanager
def _damages(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGES as error:
        raise OutputError(
            f"output: {one_line(name)} is damaged ({one_line(error)}); {_REMEDY}"
        ) from error


def _from_json(data: bytes, number: int, root: Location) -> Chunk:
    content: dict[str, Any] = json.loads(data)
    if not isinstance(content, dict):
        raise TypeError("wanted an object in JSON")
    files, ran = content["files"], content.get("ran", [])
    if content["number"] != number:
        raise ValueError(f"its number is {content['number']!r}, unlike its name")
    if not isinstance(files, list) or not isinstance(ran, list):
        raise TypeError("wanted lists")
    for name in files:
        _require_name(name)
    if not all(isinstance(one, str) for one in ran):
        raise TypeError("wanted what ran as strings")
    replaces = content.get("replaces", [])
    if not isinstance(replaces, list) or not all(type(n) is int and n < number for n in replaces):
        raise ValueError("wanted numbers of earlier chunks")
    rejected = _rejects_from_json(content["rejected"], root)
    return Chunk(number, files, rejected, tuple(ran), tuple(replaces))


def _rejects_from_json(rejects: Any, root: Location) -> Rejects:
    """Rejects from the names of files, or from the rows in a manifest of an earlier version."""
    if not isinstance(rejects, list):
        raise TypeError("wanted lists")
    named = [one for one in rejects if "file" in one]
    for one in named:
        _require_name(one["file"])
        if type(one["rows"]) is not int or one["rows"] < 1:
            raise ValueError(f"wanted a number of rows; got {one['rows']!r:.100}")
    rows = [one for one in rejects if "file" not in one]
    if not all(isinstance(one["path"], str) and isinstance(one["error"], str) for one in rows):
        raise TypeError("wanted a path and an error for each reject")
    inline = pa.Table.from_pylist(rows, REJECTED) if rows else None
    return Rejects(root, tuple(RejectFile(one["file"], one["rows"]) for one in named), inline)


def _require_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"wanted names of Parquet files next to it; got {name!r:.100}")
