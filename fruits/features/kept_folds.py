"""The moments of the folds of a cross-validation, kept for when images come or go.

They lie in ``features/_folds``: moments for each fold and transform, the images that they are of,
and a record that is written last and names them. Rows that are dropped afterwards are kept until
they have been subtracted.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fruits.errors import OutputError
from fruits.features.own_files import FOLDS_FILE, delete_own
from fruits.features.rows import read_rows, write_rows
from fruits.sources.listing import IDENTITY, semi_join
from fruits.storage.files import delete, paths_in, replace
from fruits.storage.location import Location

FOLDER = "_folds"
_RECORD = "folds.json"
_IMAGES = ["path", "label", "fold"]


@dataclass(frozen=True)
class KeptFolds:
    """Moments of folds that were measured, or are about to be.

    Attributes:
        place: URI of the folder.
        name: with which the names of the files begin.
        transforms: those that were measured.
        images: of each image, ``path``, ``label`` and ``fold``.
    """

    place: str
    name: str
    transforms: tuple[str, ...]
    images: pa.Table

    @classmethod
    def new(cls, features: str, transforms: Sequence[str], images: pa.Table) -> KeptFolds:
        """For moments that are yet to be measured, of the features in a folder."""
        name = uuid.uuid4().hex
        return cls(f"{features}/{FOLDER}", name, tuple(transforms), images.select(_IMAGES))

    @classmethod
    def read(cls, features: str) -> KeptFolds | None:
        """What is kept for the features in a folder; None if nothing is, or it is damaged."""
        place = f"{features}/{FOLDER}"
        record_file = Location.of(place) / _RECORD
        try:
            record = json.loads(record_file.filesystem.cat_file(record_file.path))
            name, transforms = str(record["name"]), tuple(map(str, record["transforms"]))
            return cls(place, name, transforms, read_rows(f"{place}/{name}.parquet", _IMAGES))
        except (FileNotFoundError, OutputError, ValueError, KeyError, TypeError):
            return None  # it is measured again

    @property
    def prefix(self) -> str:
        """With which the URIs of the files begin, see `moments_uri`."""
        return f"{self.place}/{self.name}"

    def write(self) -> None:
        """Makes these moments the ones that count, and deletes all others."""
        write_rows(f"{self.prefix}.parquet", self.images)
        record = {"name": self.name, "transforms": self.transforms}
        replace(f"{self.place}/{_RECORD}", json.dumps(record).encode())
        delete_own(Location.of(self.place), FOLDS_FILE, but=(self.name, _RECORD))

    def gone_prefix(self) -> str:
        """With which the URIs of files begin in which rows are kept that are dropped now."""
        return f"{self.prefix}.gone-{len(self._gone()):06}"

    def keep_gone(self, prefix: str, file: str, stale: pa.Table) -> None:
        """Keeps the rows of a file that are about to be dropped, if they are in the moments."""
        rows = read_rows(file, [*IDENTITY, "features"], self.images["path"])
        own = semi_join(rows, stale)
        if own.num_rows:
            columns = own.select(["path", "features"])
            write_rows(f"{prefix}-{file.rpartition('/')[2]}", columns)

    def gone(self, columns: Sequence[str] = ("path", "features")) -> pa.Table:
        """The rows that were dropped since: ``path`` and ``features``, or one of the two.

        An image that was dropped several times counts as it was at first, when it was measured.
        """
        schema = pa.schema([("path", pa.string()), ("features", pa.list_(pa.float32()))])
        uris = (f"{self.place}/{name}" for name in self._gone())
        schema = pa.schema([schema.field(name) for name in columns])
        tables = [read_rows(uri, list(columns)).cast(schema) for uri in uris]
        rows = pa.concat_tables([schema.empty_table(), *tables])
        _, first = np.unique(rows["path"].to_numpy(), return_index=True)
        return rows.take(np.sort(first))

    def _gone(self) -> list[str]:
        return [name for name in _names(self.place) if name.startswith(f"{self.name}.gone-")]


def forget(features: str) -> None:
    """Deletes what is kept for the features in a folder."""
    delete(f"{features}/{FOLDER}/{_RECORD}")
    delete_own(Location.of(f"{features}/{FOLDER}"), FOLDS_FILE)


def moments_uri(prefix: str, fold: int, transform: str) -> str:
    """Where the moments of a fold are, of features after a transform."""
    return f"{prefix}-{fold}.{transform}.moments"


def _names(place: str) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in paths_in(Location.of(place)))
