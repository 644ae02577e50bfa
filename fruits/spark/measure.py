"""Spark jobs over the table of features: which rows are known, changing them, and their moments."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fruits.features.changes import (
    RULED,
    KeptMoments,
    changed_rows,
    drop_rows,
    relabel_rows,
    rows_of,
)
from fruits.features.kept_folds import KeptFolds, forget
from fruits.features.moments import Moments, measured_by_label
from fruits.features.moments_file import is_current, merge_files, read_moments
from fruits.features.rows import FEATURES_DDL
from fruits.features.table import FOLDER, Chunk, FeatureTable
from fruits.features.writer import STAGED, FeatureWriter
from fruits.sources.listing import IDENTITY, LISTING
from fruits.spark.merge import merged
from fruits.spark.parquet import read_parquet
from fruits.spark.tasks import run_tasks
from fruits.storage.files import delete, move, paths_in, replace
from fruits.storage.location import filesystem_of

_FEWEST_FILES = 4
"""Files that a task measures at least: packing its result takes as long as measuring two."""


def read_table(spark: SparkSession, table: FeatureTable) -> DataFrame:
    """All features that are committed."""
    # By name: a file that somebody else put into the folder is not a row of ours.
    return read_parquet(spark, *table.files(), schema=FEATURES_DDL)


def known(spark: SparkSession, table: FeatureTable, files: Sequence[str] | None = None) -> pa.Table:
    """Of each committed row, its identity, label and split, its digest's start, and its file.

    Args:
        spark: the session.
        table: the features.
        files: URIs of some of its files; None for all.

    Returns:
        Columns :data:`fruits.sources.listing.IDENTITY`, ``label`` and ``split`` (dictionaries of
        strings), ``digest`` (8 bytes) and ``file``.
    """
    names = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            *(LISTING.field(name) for name in IDENTITY),
            *((name, names) for name in RULED),
            ("digest", pa.binary()),
            ("file", pa.string()),
        ]
    )
    files = table.files() if files is None else files
    if not files:
        return schema.empty_table()
    rows = read_parquet(spark, *files, schema=FEATURES_DDL).select(
        *IDENTITY,
        *RULED,
        F.unhex(F.substring("sha256", 1, 16)).alias("digest"),
        F.col("_metadata.file_name").alias("file"),
    )
    found = rows.toArrow()
    for name in RULED:
        place = found.schema.get_field_index(name)
        found = found.set_column(place, name, found[name].dictionary_encode())
    return found.cast(schema)


def drop(spark: SparkSession, writer: FeatureWriter, stale: pa.Table) -> None:
    """Drops rows, file by file; each file is replaced whole.

    Their moments are subtracted from those that are kept of their chunks, exactly.

    Args:
        spark: the session.
        writer: of the features.
        stale: some of the rows of :meth:`known`.
    """
    names = set(pc.unique(stale["file"]).to_pylist())
    if not names:
        return
    writer.lock.require()
    gone = spark.sparkContext.broadcast(stale.select(IDENTITY))
    chunks = [chunk for chunk in writer.chunks() if names & set(chunk.files)]
    # Staged until the files are rewritten: moments that are there are those of the rows.
    jobs = [
        KeptMoments(_uris(writer, chunk), uri, _staged(writer, uri), _side(uri))
        for chunk, uri in _kept(writer, chunks)
    ]
    what = f"drop: moments of {stale.num_rows:,} images that are gone"
    subtracted = run_tasks(spark, lambda job: job.subtract(gone.value), jobs, what)
    _keep_gone(spark, writer, stale)
    _forget(writer, chunks)
    run_tasks(
        spark,
        lambda uri: drop_rows(uri, gone.value),
        [f"{writer.uri}/{name}" for name in sorted(names)],
        f"drop: {stale.num_rows:,} images that are gone",
    )
    done = [job.staged for job, was in zip(jobs, subtracted, strict=True) if was]
    move(done, f"{writer.uri}/{FOLDER}")


def _keep_gone(spark: SparkSession, writer: FeatureWriter, stale: pa.Table) -> None:
    """Keeps what is dropped until it was subtracted from the moments of folds."""
    kept = KeptFolds.read(writer.uri)
    if kept and len(pc.unique(stale["path"])) < stale.num_rows:
        forget(writer.uri)  # which of two versions of an image was measured is not known
    elif kept:
        prefix = kept.gone_prefix()
        shared = spark.sparkContext.broadcast((kept, stale.select(IDENTITY)))
        run_tasks(
            spark,
            lambda file: shared.value[0].keep_gone(prefix, file, shared.value[1]),
            [f"{writer.uri}/{name}" for name in sorted(set(stale["file"].to_pylist()))],
            f"drop: keep {stale.num_rows:,} images for the moments of folds",
        )


def relabel(
    spark: SparkSession, writer: FeatureWriter, listing: pa.Table, rows: pa.Table | None = None
) -> int:
    """Gives committed rows the label and the split that they have in a listing.

    Each file is replaced whole, and the moments of its chunk are dropped, to be measured again: an
    interrupted call is finished by the next one.

    Args:
        spark: the session.
        writer: of the features.
        listing: a table with the columns of `IDENTITY`, ``label`` and ``split``.
        rows: what :meth:`known` returns, if that is at hand.

    Returns:
        How many rows were changed.
    """
    rows = known(spark, writer) if rows is None else rows
    changed = changed_rows(rows, listing)
    if not changed.num_rows:
        return 0
    writer.lock.require()
    names = set(pc.unique(changed["file"]).to_pylist())
    _forget(writer, [chunk for chunk in writer.chunks() if names & set(chunk.files)])
    shared = spark.sparkContext.broadcast(changed.drop_columns(["file"]))
    run_tasks(
        spark,
        lambda uri: relabel_rows(uri, shared.value),
        [f"{writer.uri}/{name}" for name in sorted(names)],
        f"relabel: {changed.num_rows:,} images",
    )
    return int(changed.num_rows)


def moments(
    spark: SparkSession,
    table: FeatureTable,
    side: str | None = None,
    listing: pa.Table | None = None,
) -> Moments:
    """The moments of all features, or of those of one side of the split or of some files only.

    The sums are exact, so the result depends on the set of rows alone: not on the cluster, on how
    they were committed, nor on where a run was interrupted. What was measured is kept for each
    chunk, so that old features are not read again when the table has grown; where that is damaged,
    it is measured again.

    Args:
        spark: the session.
        table: the features.
        side: of the split, such as "train"; None for all rows.
        listing: the files that count, a table with ``path``; None for all.
    """
    chunks = [chunk for chunk in table.chunks() if chunk.files]
    suffix = f"{side}.moments" if side else "moments"
    targets = {chunk.number: table.side_file(chunk.number, suffix) for chunk in chunks}
    if listing is not None:
        targets = {number: _staged(table, uri) for number, uri in targets.items()}
    paths = None if listing is None else listing["path"]

    def measure(some: list[Chunk]) -> None:
        _measure(spark, table, {targets[chunk.number]: chunk for chunk in some}, side, paths)

    measure([c for c in chunks if listing is not None or not _is_current(targets[c.number])])
    total = Moments.empty()
    own = {targets[chunk.number]: chunk for chunk in chunks}
    few = merged(spark, list(own), f"{table.uri}/{STAGED}")
    for uri in few:
        try:
            part = read_moments(uri)
        except ValueError:
            measure([own[uri]])
            part = read_moments(uri)
        total = total.merge(part)
    for uri in {*few} - own.keys() if listing is None else {*few, *own}:
        delete(uri)
    return total


def _measure(
    spark: SparkSession,
    table: FeatureTable,
    chunks: dict[str, Chunk],
    side: str | None,
    paths: pa.ChunkedArray | None,
) -> None:
    """Measures chunks, by groups of files so that all cores work; each into the file of its key."""
    slots = spark.sparkContext.defaultParallelism
    share = math.ceil(sum(len(chunk.files) for chunk in chunks.values()) / slots)
    share = max(share, _FEWEST_FILES)
    parts = {uri: _parts(table, uri, chunk, share) for uri, chunk in chunks.items()}
    shared = spark.sparkContext.broadcast(paths)

    def measure(part: tuple[str, list[str]]) -> None:
        target, files = part
        batches = (b for file in files for b in rows_of(file, side, shared.value).to_batches())
        replace(target, measured_by_label(batches).to_bytes())

    jobs = [part for own in parts.values() for part in own]
    run_tasks(spark, measure, jobs, f"fit: moments of {len(chunks):,} chunks")
    divided = {uri: [part for part, _ in own] for uri, own in parts.items() if len(own) > 1}
    what = f"fit: merge {len(divided):,} chunks"
    run_tasks(spark, lambda job: merge_files(job[1], job[0]), list(divided.items()), what)
    for uri in (uri for own in divided.values() for uri in own):
        delete(uri)


def _parts(
    table: FeatureTable, target: str, chunk: Chunk, share: int
) -> list[tuple[str, list[str]]]:
    """Where the moments of each group of files of a chunk go, and the URIs of the files."""
    uris = _uris(table, chunk)
    groups = math.ceil(len(uris) / share)
    if groups == 1:
        return [(target, uris)]
    cuts = [len(uris) * number // groups for number in range(groups + 1)]
    return [
        (f"{_staged(table, target)}.{number}", uris[start:end])
        for number, (start, end) in enumerate(pairwise(cuts))
    ]


def _kept(table: FeatureTable, chunks: list[Chunk]) -> list[tuple[Chunk, str]]:
    """URIs of the moments that are kept of chunks: of all rows, and of sides of the split."""
    found = sorted(path.rpartition("/")[2] for path in paths_in(table.root / FOLDER))
    of_number = {f"{chunk.number:06}": chunk for chunk in chunks}
    return [
        (of_number[number], f"{table.uri}/{FOLDER}/{name}")
        for name in found
        if (number := name.partition(".")[0]) in of_number and name.endswith(".moments")
    ]


def _forget(table: FeatureTable, chunks: list[Chunk]) -> None:
    """Deletes the moments of chunks."""
    for _, uri in _kept(table, chunks):
        delete(uri)


def _side(uri: str) -> str | None:
    """The side of the split of which moments are, from their name: ``000000.train.moments``."""
    _, *side, _ = uri.rpartition("/")[2].split(".")
    return side[0] if side else None


def _uris(table: FeatureTable, chunk: Chunk) -> list[str]:
    return [f"{table.uri}/{name}" for name in chunk.files]


def _staged(table: FeatureTable, uri: str) -> str:
    return f"{table.uri}/{STAGED}/{uri.rpartition('/')[2]}"


def _is_current(uri: str) -> bool:
    """Whether moments are there, and not of a version that kept less."""
    filesystem, path = filesystem_of(uri)
    try:
        return is_current(filesystem.cat_file(path, start=0, end=8))
    except FileNotFoundError:
        return False
