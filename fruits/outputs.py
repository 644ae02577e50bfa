"""What is written where, below one output folder.

Tables and the model are made in ``_staging`` and then put in the place of the old ones; run.json
is written last. Only ``features`` grows in place, a chunk at a time.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads
from matplotlib.figure import Figure
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession

from fruits.errors import OutputError
from fruits.images import IDENTITY, only, without
from fruits.moments import matrix
from fruits.storage import filesystem_of, hadoop_uri, store_errors

STAGING = "_staging"
# Which backbone made the features; the leading underscore hides it from readers of Parquet.
IDENTITY_FILE = "features/_backbone.json"
RESULTS = ("features", "pca", "pca.csv", "rejected", "model", "plots", "run.json")


@dataclass(frozen=True)
class Outputs:
    """The output folder of a run.

    Attributes:
        root: its URI.
    """

    root: str

    def uri(self, name: str) -> str:
        """The URI of something below the folder, as Hadoop and Spark write it."""
        return f"{hadoop_uri(self.root).rstrip('/')}/{name}"

    def prepare(self, identity: dict[str, str], overwrite: bool) -> None:
        """Makes the folder ready for features of one backbone.

        Args:
            identity: of the backbone, :attr:`fruits.engines.CompiledGraph.identity`.
            overwrite: delete earlier results first.

        Raises:
            OutputError: when the folder cannot be written or holds features of another backbone.
        """
        try:
            with store_errors(self.root):
                if overwrite:
                    for name in RESULTS:
                        self._delete(name)
                elif (there := self._identity()) != identity and there is not None:
                    differing = [key for key in identity if there.get(key) != identity[key]]
                    raise OutputError(
                        f"output: {self.root} holds features of "
                        + ", ".join(f"{key} {there.get(key)}" for key in differing)
                        + "; wanted "
                        + ", ".join(f"{key} {identity[key]}" for key in differing)
                        + "; give another output, or overwrite to replace them"
                    )
                self._delete(STAGING)
                self.write(IDENTITY_FILE, json.dumps(identity, indent=2).encode())
        except OSError as error:
            raise OutputError(f"output: {self.root} cannot be written: {error}") from error

    def table(self, spark: SparkSession, name: str) -> DataFrame:
        """One of the Parquet tables."""
        return spark.read.parquet(self.uri(name))

    def committed(self, spark: SparkSession, pile: pa.Table) -> pa.Table:
        """Which files have features, after those that are gone or have changed were dropped.

        Args:
            spark: the session.
            pile: all files that there are, a table of :data:`fruits.images.LISTING`.

        Returns:
            The columns :data:`fruits.images.IDENTITY`.
        """
        filesystem, path = filesystem_of(self.uri("features"))
        if not any(name.endswith(".parquet") for name in filesystem.ls(path, detail=False)):
            return pile.schema.empty_table().select(IDENTITY)
        rows = self.table(spark, "features")
        known = rows.select(IDENTITY).toArrow().cast(pile.select(IDENTITY).schema)
        stale = without(known, pile)
        if stale.num_rows:
            with self.staged("features") as staged:
                staged.write_table(only(rows, pile), "features")
                staged.write(IDENTITY_FILE, self.read(IDENTITY_FILE))
        return without(known, stale)

    @contextmanager
    def staged(self, *names: str) -> Iterator["Outputs"]:
        """Results made inside appear whole at the end of the block, or the old ones stay."""
        staged = Outputs(self.uri(STAGING))
        yield staged
        filesystem, root = filesystem_of(self.root)
        self._delete("run.json")
        for name in names:
            self._delete(name)
            if staged.exists(name):
                filesystem.mv(f"{root}/{STAGING}/{name}", f"{root}/{name}", recursive=True)
        self._delete(STAGING)

    def write_table(self, rows: DataFrame, name: str) -> None:
        """Writes a Parquet table."""
        rows.write.mode("overwrite").parquet(self.uri(name))

    def write_model(self, model: PipelineModel, name: str) -> None:
        """Saves a model."""
        model.write().overwrite().save(self.uri(name))

    def write_csv(self, table: str, name: str) -> None:
        """Streams the table of components into one CSV file: path, label, pc1, pc2, ..."""
        filesystem, path = filesystem_of(self.uri(table))
        dataset = pads.dataset(path, filesystem=filesystem, format="parquet")
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

    def write_json(self, content: dict[str, Any], name: str) -> None:
        """Writes a JSON file."""
        self.write(name, (json.dumps(content, indent=2) + "\n").encode())

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file."""
        with self.open(name) as file:
            file.write(content)

    def open(self, name: str) -> IO[bytes]:
        """Opens a file for writing; its folder is made."""
        filesystem, path = filesystem_of(self.uri(name))
        filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        file: IO[bytes] = filesystem.open(path, "wb")
        return file

    def exists(self, name: str) -> bool:
        """Whether something is there."""
        filesystem, path = filesystem_of(self.uri(name))
        return bool(filesystem.exists(path))

    def read(self, name: str) -> bytes:
        """Reads a small file."""
        filesystem, path = filesystem_of(self.uri(name))
        content: bytes = filesystem.cat_file(path)
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

    def _delete(self, name: str) -> None:
        filesystem, path = filesystem_of(self.uri(name))
        if filesystem.exists(path):
            filesystem.rm(path, recursive=True)


def _flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    components = matrix(batch["pca"])
    columns = {"path": batch["path"], "label": batch["label"]}
    for number, column in enumerate(np.ascontiguousarray(components.T), start=1):
        columns[f"pc{number}"] = pa.array(column)
    return pa.record_batch(columns)
