"""The committed chunks of features: which files belong to each, what was rejected, its moments.

A chunk counts from the moment its manifest is there, written last and whole. Tasks write their rows
into ``features/_staged``, from where a commit moves those of tasks that succeeded; Parquet files
that no manifest names are the debris of a broken run. Manifests and moments lie in
``features/_chunks``. Readers of Parquet pass over both folders.
"""

import io
import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fruits.images import IDENTITY, LISTING, without
from fruits.lock import Lock
from fruits.moments import Moments, measured
from fruits.storage import delete, filesystem_of, move, replace
from fruits.tasks import each

FEATURES = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("sha256", pa.string()),
        ("length", pa.int64()),
        ("modified", pa.timestamp("us", tz="UTC")),
        ("features", pa.list_(pa.float32())),
    ]
)
FEATURES_DDL = (
    "path string, label string, sha256 string, length long, modified timestamp, "
    "features array<float>"
)
REJECTED = LISTING.append(pa.field("error", pa.string()))

FOLDER = "_chunks"
STAGED = "_staged"


@dataclass(frozen=True)
class Chunk:
    """Images that were committed together.

    Attributes:
        number: counts the commits.
        files: names of the Parquet files, in the order of their rows.
        rejected: what yielded no features, a table of :data:`REJECTED`.
    """

    number: int
    files: list[str]
    rejected: pa.Table


class ChunkStore:
    """The table of features below an output folder.

    Args:
        uri: of the folder ``features``, as Hadoop writes it.
        lock: of the output; nothing is committed without it.
    """

    def __init__(self, uri: str, lock: Lock) -> None:
        self.uri = uri
        self.lock = lock

    def chunks(self) -> list[Chunk]:
        """The committed chunks, in the order of their commits."""
        filesystem, _ = filesystem_of(self.uri)
        return [_from_json(filesystem.cat_file(name)) for name in self._manifests()]

    def sweep(self) -> None:
        """Deletes what a broken run left behind: files of chunks that were never committed."""
        filesystem, path = filesystem_of(self.uri)
        for name in self._uncommitted():
            filesystem.rm_file(name)
        if filesystem.exists(f"{path}/{STAGED}"):
            filesystem.rm(f"{path}/{STAGED}", recursive=True)

    @property
    def staged(self) -> str:
        """The folder into which tasks write files of rows, by :func:`write_rows`."""
        return f"{self.uri}/{STAGED}"

    def commit(self, files: list[str], rejected: pa.Table) -> None:
        """Makes a chunk.

        Args:
            files: names of those in :attr:`staged`, in the order of their rows.
            rejected: what yielded no features, a table of :data:`REJECTED`.
        """
        self.lock.require()
        move([f"{self.staged}/{name}" for name in files], self.uri)
        number = max((_number(name) for name in self._manifests()), default=-1) + 1
        replace(self._side_file(number, "json"), _to_json(Chunk(number, files, rejected)))

    def table(self, spark: SparkSession) -> DataFrame:
        """All features that are committed."""
        return spark.read.schema(FEATURES_DDL).parquet(self.uri)

    def known(self, spark: SparkSession) -> pa.Table:
        """Of each committed row, its identity, the start of its digest, and the file it is in.

        Returns:
            Columns :data:`fruits.images.IDENTITY`, ``digest`` (8 bytes) and ``file``.
        """
        schema = pa.schema([LISTING.field(name) for name in IDENTITY])
        schema = schema.append(pa.field("digest", pa.binary())).append(
            pa.field("file", pa.string())
        )
        if not any(chunk.files for chunk in self.chunks()):
            return schema.empty_table()
        rows = self.table(spark).select(
            *IDENTITY,
            F.unhex(F.substring("sha256", 1, 16)).alias("digest"),
            F.col("_metadata.file_name").alias("file"),
        )
        return rows.toArrow().cast(schema)

    def refused(self) -> pa.Table:
        """The images whose contents yielded no features; those that could not be read may yet."""
        tables = [chunk.rejected for chunk in self.chunks()]
        rejected = pa.concat_tables([REJECTED.empty_table(), *tables])
        return rejected.filter(pc.invert(pc.starts_with(rejected["error"], "unreadable")))

    def drop(self, spark: SparkSession, stale: pa.Table) -> None:
        """Drops rows, file by file; each file is replaced whole.

        The moments of the chunks that lose rows are dropped as well, to be measured anew:
        subtraction would cost digits, and cannot bring back a minimum.

        Args:
            spark: the session.
            stale: some of the rows of :meth:`known`.
        """
        names = set(pc.unique(stale["file"]).to_pylist())
        if not names:
            return
        self.lock.require()
        for chunk in self.chunks():
            if names & set(chunk.files):
                delete(self._side_file(chunk.number, "moments"))
        gone = spark.sparkContext.broadcast(stale.select(IDENTITY))
        each(
            spark,
            lambda uri: _rewrite(uri, gone.value),
            [f"{self.uri}/{name}" for name in sorted(names)],
        )

    def moments(self, spark: SparkSession, listing: pa.Table | None = None) -> Moments:
        """The moments of all features, or of those of some files only.

        A chunk is measured by one task, in the order of its rows, and merged in the order of the
        commits: the result depends on neither the cluster nor on where a run was broken off. What
        was measured is kept, so that old features are not read again when the pile has grown.

        Args:
            spark: the session.
            listing: the files that count, a table with ``path``; None for all.
        """
        chunks = [chunk for chunk in self.chunks() if chunk.files]
        suffix = "moments" if listing is None else "part.moments"
        targets = {chunk.number: self._side_file(chunk.number, suffix) for chunk in chunks}
        todo = [
            chunk for chunk in chunks if listing is not None or not _there(targets[chunk.number])
        ]
        paths = spark.sparkContext.broadcast(None if listing is None else listing["path"])

        def measure(job: tuple[list[str], str]) -> None:
            files, target = job
            tables = (read_rows(file, ["path", "features"], paths.value) for file in files)
            columns = (column for table in tables for column in table["features"].chunks)
            replace(target, measured(columns).to_bytes())

        jobs = [([f"{self.uri}/{name}" for name in c.files], targets[c.number]) for c in todo]
        each(spark, measure, jobs)
        total = Moments.empty()
        for target in targets.values():
            filesystem, path = filesystem_of(target)
            total = total.merge(Moments.from_bytes(filesystem.cat_file(path)))
            if listing is not None:
                filesystem.rm_file(path)
        return total

    def _manifests(self) -> list[str]:
        """Paths of the manifests, in the order of the commits."""
        filesystem, path = filesystem_of(f"{self.uri}/{FOLDER}")
        filesystem.invalidate_cache()
        names = filesystem.ls(path, detail=False) if filesystem.exists(path) else []
        return sorted((name for name in names if name.endswith(".json")), key=_number)

    def _side_file(self, number: int, suffix: str) -> str:
        return f"{self.uri}/{FOLDER}/{number:06}.{suffix}"

    def _uncommitted(self) -> list[str]:
        filesystem, path = filesystem_of(self.uri)
        filesystem.invalidate_cache()
        committed = {name for chunk in self.chunks() for name in chunk.files}
        names = filesystem.ls(path, detail=False) if filesystem.exists(path) else []
        return [
            name
            for name in names
            if name.endswith(".parquet") and name.rpartition("/")[2] not in committed
        ]


def write_rows(uri: str, rows: pa.Table) -> None:
    """Writes rows of features, or of components, as one Parquet file, whole."""
    buffer = io.BytesIO()
    # A dictionary of numbers that are all different is longer than the numbers.
    pq.write_table(rows, buffer, use_dictionary=["label"])
    replace(uri, buffer.getvalue())


def read_rows(
    uri: str, columns: list[str] | None = None, paths: pa.ChunkedArray | None = None
) -> pa.Table:
    """Some columns of a file of features, or all; only the rows of the given paths."""
    filesystem, path = filesystem_of(uri)
    with filesystem.open(path, "rb") as file:
        rows = pq.read_table(file, columns=columns, partitioning=None)
    return rows if paths is None else rows.filter(pc.is_in(rows["path"], paths))


def _rewrite(uri: str, stale: pa.Table) -> None:
    rows = read_rows(uri)
    identity = rows.select(IDENTITY).cast(stale.schema)
    write_rows(uri, rows.filter(pc.is_in(rows["path"], without(identity, stale)["path"])))


def _number(manifest: str) -> int:
    return int(manifest.rpartition("/")[2].removesuffix(".json"))


def _there(uri: str) -> bool:
    filesystem, path = filesystem_of(uri)
    return bool(filesystem.exists(path))


def _to_json(chunk: Chunk) -> bytes:
    rejected = chunk.rejected.set_column(
        REJECTED.get_field_index("modified"),
        "modified",
        chunk.rejected["modified"].cast(pa.int64()),
    )
    content = {"number": chunk.number, "files": chunk.files, "rejected": rejected.to_pylist()}
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


def _from_json(data: bytes) -> Chunk:
    content = json.loads(data)
    rejected = pa.Table.from_pylist(content["rejected"], REJECTED)
    return Chunk(content["number"], content["files"], rejected)
