"""Stores the moments of the folds of a cross-validation, to update them when images change.

The folder ``features/_folds`` has the moments for each fold and transform, the features of the
images that are scored, the list of all images, and a record that names these files and is written
last. Rows that are dropped later are kept until they are subtracted.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.own_files import FOLDS_FILE, delete_own
from fruits.features.rows import read_rows, write_rows
from fruits.sources.listing import IDENTITY, semi_join
from fruits.storage.files import delete, paths_in, replace
from fruits.storage.location import Location

FOLDS_FOLDER = "_folds"
_RECORD = "folds.json"
_SAMPLE = ".sample.parquet"

FOLDED = pa.schema([("path", pa.string()), ("label", pa.string()), ("fold", pa.int64())])
"""The columns of the training images with their folds."""

_GONE = pa.schema(
    [("path", pa.string()), ("file", pa.dictionary(pa.int32(), pa.string())), ("row", pa.int64())]
)


@dataclass(frozen=True)
class KeptFolds:
    """The stored moments of folds.

    Attributes:
        place: The folder.
        name: The prefix of the names of the files.
        transforms: The transforms that were measured.
        parts: The number of files that list the images (``path``, ``label`` and ``fold``).
    """

    place: Location
    name: str
    transforms: tuple[str, ...]
    parts: int = 0

    @classmethod
    def new(cls, features: Location, transforms: Sequence[str]) -> KeptFolds:
        """A place for moments that are not measured yet, of the features in a folder."""
        return cls(features / FOLDS_FOLDER, uuid.uuid4().hex, tuple(transforms))

    @classmethod
    def read(cls, features: Location) -> KeptFolds | None:
        """The moments stored for the features in a folder; None if missing or damaged."""
        place = features / FOLDS_FOLDER
        record_file = place / _RECORD
        try:
            record = json.loads(record_file.filesystem.cat_file(record_file.path))
            name, transforms = str(record["name"]), tuple(map(str, record["transforms"]))
            return cls(place, name, transforms, int(record["parts"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # The moments are measured again.

    @property
    def prefix(self) -> Location:
        """The common prefix of the files' locations, see `fold_moments`."""
        return self.place / self.name

    def sample(self, fold: int) -> Location:
        """The file with ``path`` and ``features`` of the images of a fold that are scored."""
        return self.prefix.extended(f"-{fold}{_SAMPLE}")

    def sampled(self) -> pa.ChunkedArray:
        """The paths of the images in all files of :meth:`sample`.

        Raises:
            OutputError: a file is damaged.
        """
        names = [name for name in _names(self.place) if name.startswith(f"{self.name}-")]
        files = [self.place / name for name in names if name.endswith(_SAMPLE)]
        chunks = [c for file in files for c in read_rows(file, ["path"])["path"].chunks]
        return pa.chunked_array(chunks, pa.string())

    def images(self) -> Iterator[pa.Table]:
        """Yields ``path``, ``label`` and ``fold`` of each image, file by file.

        Raises:
            OutputError: a file is missing or damaged.
        """
        return (read_rows(self._images_file(number), FOLDED.names) for number in range(self.parts))

    def write(self, images: Iterable[pa.Table]) -> None:
        """Makes these moments the current ones, and deletes all others.

        Args:
            images: the images that were measured: tables with the columns of :meth:`images`, which
                become one file each.
        """
        parts = 0
        for rows in images:
            write_rows(self._images_file(parts), rows.select(FOLDED.names))
            parts += 1
        record = {"name": self.name, "transforms": self.transforms, "parts": parts}
        replace(self.place / _RECORD, json.dumps(record).encode())
        delete_own(self.place, FOLDS_FILE, keep=(self.name, _RECORD))

    def _images_file(self, number: int) -> Location:
        return self.prefix.extended(f".{number:06}.parquet" if number else ".parquet")

    def measured_among(self, rows: pa.Table) -> pa.Table:
        """The rows, with a column ``path``, whose images are included in the moments.

        Raises:
            OutputError: a file is missing or damaged.
        """
        paths = pc.unique(rows["path"])
        own = [part["path"].filter(pc.is_in(part["path"], paths)) for part in self.images()]
        chunks = [chunk for column in own for chunk in column.chunks]
        return rows.filter(pc.is_in(rows["path"], pa.chunked_array(chunks, pa.string())))

    def dropped_prefix(self) -> Location:
        """The prefix for files with rows that are about to be dropped."""
        return self.prefix.extended(f".gone-{len(self._gone()):06}")

    def keep_dropped(self, prefix: Location, file: Location, stale: pa.Table) -> None:
        """Keeps the rows of a file that are about to be dropped and are in the moments."""
        own = semi_join(read_rows(file, [*IDENTITY, "features"]), stale)
        if own.num_rows:
            columns = own.select(["path", "features"])
            write_rows(prefix.extended(f"-{file.name}"), columns)

    def gone(self) -> pa.Table:
        """The rows that were dropped since: ``path``, the name of the ``file``, and ``row`` in it.

        If an image was dropped several times, the first version counts: that one was measured.
        """
        found = [_GONE.empty_table()]
        for name in self._gone():
            paths = read_rows(self.place / name, ["path"])["path"]
            columns = [paths, pa.repeat(name, len(paths)), np.arange(len(paths))]
            found.append(pa.table(columns, _GONE.names).cast(_GONE))
        rows = pa.concat_tables(found).unify_dictionaries()
        codes = rows["path"].cast(pa.large_string()).combine_chunks().dictionary_encode().indices
        _, first = np.unique(codes.to_numpy(), return_index=True)
        return rows.take(np.sort(first))

    def _gone(self) -> list[str]:
        return [name for name in _names(self.place) if name.startswith(f"{self.name}.gone-")]


def delete_folds(features: Location) -> None:
    """Deletes the moments stored for the features in a folder."""
    delete(features / FOLDS_FOLDER / _RECORD)
    delete_own(features / FOLDS_FOLDER, FOLDS_FILE)


def fold_moments(prefix: Location, fold: int, transform: str) -> Location:
    """The location of the moments of a fold, for features after a transform."""
    return prefix.extended(f"-{fold}.{transform}.moments")


def _names(place: Location) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in paths_in(place))
