"""What is written where, below one output folder.

Tables and the model are made in ``_staging`` and then put in the place of the old ones; run.json
is written last. Only ``features`` grows in place, a chunk at a time.
"""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from fruits.errors import OutputError
from fruits.features.rows import matrix, write_rows
from fruits.runs.basis import Basis, read_basis
from fruits.runs.made import RESULTS, STAGING, Made
from fruits.storage.failures import store_errors
from fruits.storage.files import delete_files, probe, replace, sha256_of
from fruits.storage.location import Location
from fruits.storage.lock import Lock

if TYPE_CHECKING:
    # Loading them takes a second, which a run that finds nothing changed does without.
    from matplotlib.figure import Figure
    from pyspark.sql import DataFrame, SparkSession

# Which backbone made the features; the leading underscore hides it from readers of Parquet.
IDENTITY_FILE = "features/_backbone.json"


@dataclass(frozen=True)
class Outputs:
    """The output folder of a run.

    Attributes:
        root: where it is.
        run: names what this run has made and not yet published.
    """

    root: Location
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @classmethod
    def of(cls, place: str) -> Outputs:
        """The output folder at a path or URI.

        Raises:
            StorageError: no file system is known for it.
        """
        return cls(Location.of(place))

    def uri(self, name: str) -> str:
        """The URI of something below the folder, as Hadoop and Spark write it."""
        return str(self.root / name)

    def link(self, name: str) -> str:
        """The address of a file below the folder, as a browser opens it."""
        place = self.root / name
        return PurePosixPath(place.path).as_uri() if self.root.is_local else str(place)

    def check(self, identity: dict[str, str], overwrite: bool) -> None:
        """Refuses a folder that does not go with what is asked for.

        Args:
            identity: of the backbone, :attr:`fruits.networks.graph.CompiledGraph.identity`.
            overwrite: earlier results may be deleted.

        Raises:
            OutputError: when there are features of another backbone.
        """
        with self.errors():
            if not self.root.is_local:
                with suppress(FileNotFoundError):  # The folder is not there yet; the store is.
                    probe(self.root)
            self.made().require_ours()
            there = None if overwrite else self._identity()
            if there not in (None, identity):
                names = dict.fromkeys([*identity, *there])
                differing = [key for key in names if there.get(key) != identity.get(key)]
                raise OutputError(
                    f"output: {self.root} holds features of "
                    + ", ".join(f"{key} {there.get(key, 'as usual')}" for key in differing)
                    + "; wanted "
                    + ", ".join(f"{key} {identity.get(key, 'as usual')}" for key in differing)
                    + "; give another output, or overwrite to replace them"
                )

    def prepare(self, identity: dict[str, str], overwrite: bool) -> None:
        """Makes the folder ready for features of one backbone.

        Args:
            identity: of the backbone.
            overwrite: delete earlier results.

        Raises:
            OutputError: when the folder cannot be written.
        """
        with self.errors():
            made = self.made()
            made.require_ours()
            for name in (*(RESULTS if overwrite else ()), STAGING):
                made.delete(name)
            # An output of a version without a record gets one.
            made.record(
                frozenset(one for name in RESULTS for one in made.files(name) if made.owns(one))
            )
            self.write(IDENTITY_FILE, json.dumps(identity, indent=2).encode())

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns failures of the store into errors that name the output."""
        try:
            with store_errors(str(self.root)):
                yield
        except OSError as error:
            raise OutputError(f"output: {self.root} cannot be used: {error}") from error

    def table(self, spark: SparkSession, name: str) -> DataFrame:
        """One of the Parquet tables."""
        from fruits.spark.parquet import read_parquet

        return read_parquet(spark, *map(str, self.files(name)))

    def files(self, name: str) -> list[Location]:
        """The files of one of the Parquet tables, in the order of their names."""
        # Files of the user's in the same folder are not part of the table, nor are thumbnails.
        made = self.made()
        owned = [one for one in made.files(name) if made.owns(one) and "/_" not in one]
        return [self.root / one for one in sorted(owned) if one.endswith(".parquet")]

    def staging(self) -> Outputs:
        """Where results are made before :meth:`publish` puts them in their places.

        The folder is a new one: some stores still show the folders of what was deleted.
        """
        return Outputs(self.root / STAGING / self.run)

    def publish(self, lock: Lock, *names: str, report: dict[str, Any] | None = None) -> None:
        """Puts staged results in the places of the old ones; others are deleted.

        With a report, there is no run.json while the results change places, and at the end the new
        one: who finds a run.json finds the results that it describes. The report gets ``sha256``:
        the digests of the files of the model. The record then has the states of all files.
        """
        lock.require()
        made = self.made()
        staged = Made(self.root / STAGING / self.run, frozenset())
        fresh = {name: staged.files(name) for name in names}
        files = [one for name in names for one in fresh[name]]
        made.require_free([*files, "run.json"])
        kept = frozenset(
            one for one in made.recorded or () if one.partition("/")[0] not in {*names, "run.json"}
        )
        # Whenever this is interrupted, the record names the old files and the new ones.
        made = made.record(frozenset([*(made.recorded or ()), *files, "run.json"]))
        if report:
            made.delete("run.json")
        for name in names:
            self._replace(made, staged, name, fresh[name])
        made.delete(STAGING)
        if report:
            report["sha256"] = self._digests(files)
            self.write_report(report)
        made = made.record(kept | {*files, "run.json"})
        if report:
            made.record_states()

    def made(self) -> Made:
        """Which files of the folder the runs have made."""
        return Made.of(self.root)

    def _replace(self, made: Made, staged: Made, name: str, files: list[str]) -> None:
        """Puts the staged files of a result in the place of its old ones."""
        filesystem = made.root.filesystem
        old, new = (made.root / name).path, (staged.root / name).path
        there = made.files(name)
        if made.root.is_local and files and all(map(made.owns, there)):
            # Two renames: the place is empty for no longer than that.
            if filesystem.exists(old):
                filesystem.mv(old, f"{new}.old", recursive=True)
            filesystem.mv(new, old, recursive=True)
            return
        # A store has no folders, and a local one may have files of the user's, which stay in place.
        # What is there goes last: whenever this is interrupted, the moments of a model are there.
        outdated = [one for one in there if made.owns(one) and one not in files]
        if made.root.is_local:
            for one in files:
                target = PurePosixPath((made.root / one).path)
                filesystem.makedirs(str(target.parent), exist_ok=True)
                os.replace((staged.root / one).path, target)
        elif files:
            filesystem.copy(
                [(staged.root / one).path for one in files],
                [(made.root / one).path for one in files],
            )
        delete_files(made.root, [(made.root / one).path for one in outdated])

    def _digests(self, files: list[str]) -> dict[str, str]:
        """SHA-256 of the files of the model, by which a loader knows that they are this run's."""
        return {one: sha256_of(self.uri(one)) for one in files if one.startswith("model/")}

    def write_report(self, report: dict[str, Any]) -> None:
        """Writes run.json, whole."""
        replace(self.uri("run.json"), (json.dumps(report, indent=2) + "\n").encode())

    def write_table(self, rows: pa.Table, name: str, number: int = 0) -> None:
        """Writes a small Parquet table, or a part of one, as one file."""
        write_rows(self.uri(f"{name}/{number:09}.parquet"), rows)

    def basis(self) -> Basis | None:
        """What the scaler and the PCA of the last run follow from.

        None where there is no model, or one of a version that kept other moments.
        """
        return read_basis(str(self.root))

    def write_csv(self, table: str, name: str) -> None:
        """Streams the table of components into one CSV file: path, label, pc1, pc2, ..."""
        # It loads pandas, which takes half a second.
        import pyarrow.dataset as pads

        place = self.root / table
        dataset = pads.dataset(
            place.path, filesystem=place.filesystem, format="parquet", exclude_invalid_files=False
        )
        with self.open(name) as file:
            writer = None
            for batch in dataset.to_batches(batch_size=4096):
                flat = _flat(batch)
                writer = writer or pacsv.CSVWriter(file, flat.schema)
                writer.write(flat)
            if writer is not None:
                writer.close()

    def write_figure(self, figure: Figure, name: str) -> None:
        """Writes a picture as PNG."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
        self.write(name, buffer.getvalue())

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file."""
        with self.open(name) as file:
            file.write(content)

    def open(self, name: str) -> IO[bytes]:
        """Opens a file for writing; its folder is made."""
        place = self.root / name
        place.filesystem.makedirs(str(PurePosixPath(place.path).parent), exist_ok=True)
        file: IO[bytes] = place.filesystem.open(place.path, "wb")
        return file

    def exists(self, name: str) -> bool:
        """Whether something is there."""
        return bool(self.root.filesystem.exists((self.root / name).path))

    def read(self, name: str) -> bytes:
        """Reads a small file."""
        content: bytes = self.root.filesystem.cat_file((self.root / name).path)
        return content

    def _identity(self) -> dict[str, str] | None:
        """Of the backbone whose features are there, or None where there are none."""
        if self.exists(IDENTITY_FILE):
            identity: dict[str, str] = json.loads(self.read(IDENTITY_FILE))
            return identity
        if self.exists("features"):
            raise OutputError(
                f"output: {self.uri('features')} was not written by fruits; "
                "give another output, or overwrite to replace it"
            )
        return None


def _without_formulas(labels: pa.Array) -> pa.Array:
    """Labels that a spreadsheet would run as formulas, with an apostrophe before them.

    OWASP, "CSV Injection". A path begins with its scheme, so it is never one.
    """
    quoted = pc.binary_join_element_wise("'", labels, "")
    return pc.if_else(pc.match_substring_regex(labels, r"^[=+\-@\t\r]"), quoted, labels)


def _flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    components = matrix(batch["pca"])
    columns = {"path": batch["path"], "label": _without_formulas(batch["label"])}
    for number, column in enumerate(np.ascontiguousarray(components.T), start=1):
        columns[f"pc{number}"] = pa.array(column)
    return pa.record_batch(columns)
