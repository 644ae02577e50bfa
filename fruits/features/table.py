"""The table of features below an output: its committed chunks, read without a lock or Spark.

A chunk counts from the moment its manifest is there, written last and whole. Manifests and moments
lie in ``features/_chunks``. Readers of Parquet skip folders whose names begin with ``_``.
"""

import json
import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset

from fruits.errors import OutputError, one_line
from fruits.features.rows import REJECTED
from fruits.storage.location import filesystem_of, hadoop_uri

FOLDER = "_chunks"
# Of a manifest; other files in the folder are not ours.
_MANIFEST = re.compile(r"/\d{6,}\.json$")


@dataclass(frozen=True)
class Chunk:
    """Images that were committed together.

    Attributes:
        number: counts the commits.
        files: names of the Parquet files, in the order of their rows.
        rejected: what yielded no features, a table of :data:`REJECTED`.
        ran: what computed the features, from :func:`fruits.networks.runtime.what_ran`; empty when
            they were copied.
    """

    number: int
    files: list[str]
    rejected: pa.Table
    ran: tuple[str, ...] = ()


class FeatureTable:
    """The committed features below an output folder.

    Args:
        uri: of the folder ``features``, as Hadoop writes it.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def chunks(self) -> list[Chunk]:
        """The committed chunks, in the order of their commits.

        Raises:
            OutputError: a manifest is damaged.
        """
        filesystem, _ = filesystem_of(self.uri)
        return [_from_json(filesystem.cat_file(name), name) for name in self.manifests()]

    def files(self) -> list[str]:
        """URIs of all committed files of rows, in the order of the commits."""
        return [f"{self.uri}/{name}" for chunk in self.chunks() for name in chunk.files]

    def refused(self) -> pa.Table:
        """The images whose contents yielded no features; those that could not be read may yet."""
        tables = [chunk.rejected for chunk in self.chunks()]
        rejected = pa.concat_tables([REJECTED.empty_table(), *tables])
        return rejected.filter(pc.invert(pc.starts_with(rejected["error"], "unreadable")))

    def ran(self) -> list[str]:
        """What computed the committed features; more than one when processors differed."""
        return sorted({ran for chunk in self.chunks() for ran in chunk.ran})

    def manifests(self) -> list[str]:
        """Paths of the manifests, in the order of the commits."""
        filesystem, path = filesystem_of(f"{self.uri}/{FOLDER}")
        filesystem.invalidate_cache()
        names = filesystem.ls(path, detail=False) if filesystem.exists(path) else []
        return sorted(filter(_MANIFEST.search, names), key=chunk_number)

    def side_file(self, number: int, suffix: str) -> str:
        """URI of what is kept next to the manifest of a chunk."""
        return f"{self.uri}/{FOLDER}/{number:06}.{suffix}"


def open_features(output: str) -> dataset.Dataset:
    """The features of a run, without Spark, and also while a run goes on.

    Args:
        output: path or URI of the output folder.

    Returns:
        The committed rows, which are read when they are asked for: ``to_table()`` for all,
        ``to_batches()`` for one part after the other. The column ``features`` is a list of float32.

    Raises:
        OutputError: when no features are committed there.
        StorageError: when the store is unknown.
    """
    table = FeatureTable(f"{hadoop_uri(output).rstrip('/')}/features")
    files = table.files()
    if not files:
        raise OutputError(f"output: wanted the output of a run; no features in {table.uri}")
    filesystem, _ = filesystem_of(table.uri)
    paths = [filesystem_of(file)[1] for file in files]
    return dataset.dataset(paths, filesystem=filesystem, format="parquet")


def chunk_number(manifest: str) -> int:
    """The number of a chunk, from the path of its manifest."""
    return int(manifest.rpartition("/")[2].removesuffix(".json"))


def _from_json(data: bytes, path: str) -> Chunk:
    try:
        content = json.loads(data)
        rejected = pa.Table.from_pylist(content["rejected"], REJECTED)
        for name in content["files"]:
            # What is outside of the folder is never read, replaced or deleted.
            if "/" in name or not name.endswith(".parquet"):
                raise ValueError(f"{name!r} is no file of features")
        ran = tuple(map(str, content.get("ran", ())))
        return Chunk(int(content["number"]), list(content["files"]), rejected, ran)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"output: {path} is damaged ({type(error).__name__}: {one_line(error)}); it says which "
            "features are committed: restore it, or delete it and run again, which extracts them "
            "once more"
        ) from error
