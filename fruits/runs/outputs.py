"""The output folder of a run: reading, writing and publishing its results.

Results are written to ``_staging`` and then replace the old ones; run.json is written last. Only
``features`` is changed in place, a chunk at a time.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pacsv

from fruits.errors import OutputError
from fruits.features.rows import scan, write_rows
from fruits.features.writer import FeatureWriter
from fruits.folds.kept_folds import delete_folds
from fruits.networks.graph import differing
from fruits.runs import run_json
from fruits.runs.csv_rows import flat_rows
from fruits.runs.output_record import RESULTS, STAGING, OutputRecord
from fruits.storage.failures import store_errors
from fruits.storage.files import paths_in, probe, replace, sha256_of
from fruits.storage.location import Location
from fruits.storage.lock import Lock

if TYPE_CHECKING:
    # Importing them takes a second, and a run that finds nothing changed does not need them.
    import pyarrow.dataset as pads
    from pyspark.sql import DataFrame, SparkSession

# The backbone of the features. Readers of Parquet ignore names with a leading underscore.
IDENTITY_FILE = "features/_backbone.json"


@dataclass(frozen=True)
class Outputs:
    """The output folder of a run.

    Attributes:
        root: The location of the folder.
        run: The name of this run's staging folder.
    """

    root: Location
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @classmethod
    def of(cls, place: str) -> Outputs:
        """The output folder at a path or URI.

        Raises:
            StorageError: There is no file system for its scheme.
        """
        return cls(Location.of(place))

    def uri(self, name: str) -> str:
        """The URI of a file or folder below this one, in the form of Hadoop and Spark."""
        return str(self.root / name)

    def link(self, name: str) -> str:
        """The address of a file below the folder, in the form of browsers."""
        place = self.root / name
        return PurePosixPath(place.path).as_uri() if self.root.is_local else str(place)

    def check(self, identity: dict[str, str], overwrite: bool) -> None:
        """Refuses a folder with features of another backbone, or with files of other programs.

        Args:
            identity: The identity of the backbone,
                :attr:`fruits.networks.graph.CompiledGraph.identity`.
            overwrite: Whether earlier results may be deleted.

        Raises:
            OutputError: The folder cannot be used.
        """
        with self.errors():
            if not self.root.is_local:
                with suppress(FileNotFoundError):  # The store works; the folder is new.
                    probe(self.root)
            self.record().require_ours()
            there = None if overwrite else self._identity()
            if there not in (None, identity):
                wanted, found = differing(identity, there)
                raise OutputError(
                    f"output: {self.root} has features of {found}; wanted {wanted}; give another "
                    "output, or overwrite to replace them"
                )

    def prepare(self, lock: Lock, identity: dict[str, str], overwrite: bool) -> None:
        """Prepares the folder for features of one backbone.

        Args:
            lock: The lock of the folder.
            identity: The identity of the backbone.
            overwrite: Whether to delete earlier results.

        Raises:
            OutputError: The folder cannot be used, or another run took the lock.
        """
        self.check(identity, overwrite)  # Again, since another run may have ended before the lock.
        with self.errors():
            record = self.record()
            # run.json, which describes the other results, is the first, and the features the last.
            for name in (*(reversed(RESULTS) if overwrite else ()), STAGING):
                lock.require()
                if name != "features":
                    record.delete(name)
                elif paths_in(self.root / name):
                    FeatureWriter(self.root / name, lock).clear()
                    delete_folds(self.root / name)
            # An output of a version without a record gets one.
            record.save(
                frozenset(one for name in RESULTS for one in record.files(name) if record.owns(one))
            )
            self.write(IDENTITY_FILE, json.dumps(identity, indent=2).encode())

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Converts failures of the store to errors that name the output."""
        try:
            with store_errors(str(self.root)):
                yield
        except OSError as error:
            raise OutputError(f"output: {self.root} cannot be used: {error}") from error

    def table(self, spark: SparkSession, name: str) -> DataFrame:
        """One of the Parquet tables."""
        from fruits.spark.parquet import read_parquet

        return read_parquet(spark, *self.files(name))

    def files(self, name: str) -> list[Location]:
        """The files of one of the published Parquet tables, in the order of their names.

        Raises:
            OutputError: There are none.
        """
        # Neither files of the user in the same folder nor thumbnails are part of the table.
        record = self.record()
        owned = [one for one in record.files(name) if record.owns(one) and "/_" not in one]
        if files := [self.root / one for one in sorted(owned) if one.endswith(".parquet")]:
            return files
        raise OutputError(
            f"output: wanted the table {name}; {self.uri(name)} does not exist: the last run did "
            "not write it, or it was deleted"
        )

    def staging(self) -> Outputs:
        """The folder of results before :meth:`publish` moves them.

        Each run uses a new folder, since some stores still list the folders of deleted files.
        """
        return Outputs(self.root / STAGING / self.run)

    def publish(self, lock: Lock, *names: str, report: dict[str, Any] | None = None) -> None:
        """Replaces results by the staged ones, and deletes named results that are not staged.

        With a report, run.json is deleted first and written last, so it always describes the
        results next to it. The report gets ``sha256``, the digests of the files of the model, and
        the record gets the states of all files.

        Raises:
            OutputError: Another run took the lock, or a file would be replaced that no run wrote.
        """
        record = self.record()
        staged = OutputRecord(self.staging().root, frozenset())
        fresh = {name: staged.files(name) for name in names}
        files = [one for name in names for one in fresh[name]]
        record.require_free([*files, run_json.NAME])
        kept = frozenset(
            one
            for one in record.names or ()
            if one.partition("/")[0] not in {*names, run_json.NAME}
        )
        lock.require()
        # If this is interrupted, the record lists both the old files and the new ones.
        record = record.save(frozenset([*(record.names or ()), *files, run_json.NAME]))
        if report:
            record.delete(run_json.NAME)
        for name in names:
            record.replace(lock, staged, name, fresh[name])
        if report:
            report["sha256"] = self._digests(files)
            self.staging().write_report(report)
            record.replace(lock, staged, run_json.NAME, [run_json.NAME])
        lock.require()
        record.delete(STAGING)
        record = record.save(kept | {*files, run_json.NAME})
        if report:
            record.save_states()

    def record(self) -> OutputRecord:
        """The record of the files that runs wrote to the folder."""
        return OutputRecord.of(self.root)

    def _digests(self, files: list[str]) -> dict[str, str]:
        """The SHA-256 of the files of the model, with which a loader checks them."""
        return {one: sha256_of(self.root / one) for one in files if one.startswith("model/")}

    def write_report(self, report: dict[str, Any]) -> None:
        """Writes run.json, as a whole."""
        replace(self.root / run_json.NAME, (json.dumps(report, indent=2) + "\n").encode())

    def write_table(self, rows: pa.Table, name: str, number: int = 0) -> None:
        """Writes a small Parquet table, or a part of one, as one file."""
        write_rows(self.root / f"{name}/{number:09}.parquet", rows)

    def dataset(self, table: str, schema: pa.Schema | None = None) -> pads.Dataset:
        """A staged table, whose files are read in the order of their names.

        Args:
            table: The name of its folder or file.
            schema: The columns to read; missing columns are null. All columns by default.
        """
        return self._dataset((self.root / table).path, schema)

    def published(self, table: str, schema: pa.Schema | None = None) -> pads.Dataset:
        """A published table like that of :meth:`dataset`, without files of other programs.

        Raises:
            OutputError: There is none.
        """
        return self._dataset([file.path for file in self.files(table)], schema)

    def _dataset(self, paths: str | list[str], schema: pa.Schema | None) -> pads.Dataset:
        # Imports pandas, which takes half a second.
        import pyarrow.dataset as pads

        return pads.dataset(
            paths,
            schema,
            filesystem=self.root.filesystem,
            format="parquet",
            exclude_invalid_files=False,
        )

    def write_csv(self, table: str, name: str) -> None:
        """Writes the table of components to one CSV file: path, label, pc1, pc2, ..."""
        with self.open(name) as file:
            writer = None
            for batch in scan(self.dataset(table), rows=4096):
                flat = flat_rows(batch)
                writer = writer or pacsv.CSVWriter(file, flat.schema)
                writer.write(flat)
            if writer is not None:
                writer.close()

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file."""
        with self.open(name) as file:
            file.write(content)

    def open(self, name: str) -> IO[bytes]:
        """Opens a file for writing, and creates its folder."""
        place = self.root / name
        place.filesystem.makedirs(str(PurePosixPath(place.path).parent), exist_ok=True)
        file: IO[bytes] = place.filesystem.open(place.path, "wb")
        return file

    def exists(self, name: str) -> bool:
        """Whether a file or folder exists."""
        return bool(self.root.filesystem.exists((self.root / name).path))

    def read(self, name: str) -> bytes:
        """Reads a small file."""
        content: bytes = self.root.filesystem.cat_file((self.root / name).path)
        return content

    def _identity(self) -> dict[str, str] | None:
        """The identity of the backbone of the features; None if there are no features."""
        if self.exists(IDENTITY_FILE):
            identity: dict[str, str] = json.loads(self.read(IDENTITY_FILE))
            return identity
        if self.exists("features"):
            raise OutputError(
                f"output: {self.uri('features')} was not written by fruits; "
                "give another output, or overwrite to replace it"
            )
        return None
