"""Projection on Spark: the committed features -> components and predictions, ordered by path.

Python workers read, multiply and write; the JVM only hands out the tasks. The order depends neither
on how the features were committed nor on how long that took: each task of a first job sorts what it
has, and those of a second one take a range of the paths each, from all that has some of it.
"""

import itertools
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from fruits.classify.rows import SCORES, TablePredictor
from fruits.features.rows import lists, matrix, read_rows, write_rows
from fruits.features.table import FeatureTable
from fruits.reduction.fit import Reduction
from fruits.reduction.transform import affine
from fruits.spark.tasks import run_tasks
from fruits.storage.files import delete_folder

# Files of features, of a few hundred rows, that the first job makes one sorted file of.
FILES_OF_A_TASK = 8


# Rows of a file of components, about.
ROWS_OF_A_FILE = 16_384


# What a task reads.
COLUMNS = ["path", "label", "split", "features"]


# Of so many rows of a sorted file, the driver gets to know one path.
_ROWS_OF_A_SAMPLE = 512


@dataclass(frozen=True)
class _Sorted:
    """A sorted file: its name, its rows, and paths in it, with the first and the last."""

    name: str
    rows: int
    samples: list[str]


@dataclass(frozen=True)
class _Range:
    """Paths from one on, and before another, with None for no bound, and who has any of them."""

    first: str | None
    end: str | None
    files: list[str]


def project(
    spark: SparkSession,
    store: FeatureTable,
    reduction: Reduction,
    uri: str,
    listing: pa.Table | None = None,
    prediction: TablePredictor | None = None,
) -> tuple[int, pa.Table]:
    """Writes the components of all committed features, or of those of some files only.

    Args:
        spark: the session.
        store: the features.
        reduction: from d features to k components.
        uri: of the folder in which ``pca`` is made: Parquet of path, label, split (strings) and pca
            ``array<float>``, whose files in the order of their names have the rows in the order of
            their paths (of the code points, as Python compares strings); and ``predictions``, of
            :data:`fruits.classify.rows.PREDICTIONS`, in the same order.
        listing: the files that count, a table with ``path``; None for all.
        prediction: how images are predicted; None to write no predictions.

    Returns:
        How many images there are, and the scores of labelled ones, a table of
        :data:`fruits.classify.rows.SCORES`.
    """
    files = store.files()
    groups = [files[n : n + FILES_OF_A_TASK] for n in range(0, len(files), FILES_OF_A_TASK)]
    shared = spark.sparkContext.broadcast((reduction.weights, reduction.offset, prediction))
    paths = spark.sparkContext.broadcast(None if listing is None else listing["path"])
    # One file is sorted by itself.
    folder = uri if len(groups) == 1 else f"{uri}/unsorted"
    tables = ["pca"] + ["predictions"] * (prediction is not None)

    def work(job: tuple[int, list[str]]) -> tuple[_Sorted, pa.Table] | None:
        number, group = job
        weights, offset, prediction = shared.value
        read = [read_rows(file, COLUMNS, paths.value) for file in group]
        rows = pa.concat_tables(read).sort_by("path").combine_chunks()
        if not rows.num_rows:
            return None
        features = matrix(rows["features"].chunk(0))
        rows, scores = rows.drop_columns("features"), SCORES.empty_table()
        components = lists(affine(features, weights, offset))
        name = f"{number:09}.parquet"
        write_rows(f"{folder}/pca/{name}", rows.append_column("pca", components))
        if prediction is not None:
            predictions, scores = prediction.tables(rows, features)
            write_rows(f"{folder}/predictions/{name}", predictions)
        samples = [*range(0, rows.num_rows, _ROWS_OF_A_SAMPLE), rows.num_rows - 1]
        return _Sorted(name, rows.num_rows, rows["path"].take(samples).to_pylist()), scores

    what = f"project: {len(files):,} files of features"
    done = [one for one in run_tasks(spark, work, list(enumerate(groups)), what) if one]
    shared.destroy()
    paths.destroy()
    if folder != uri:
        spans = list(enumerate(_ranges([file for file, _ in done])))
        ranges = [(table, *span) for table in tables for span in spans]
        run_tasks(
            spark,
            lambda job: _merge(job[2], f"{folder}/{job[0]}", f"{uri}/{job[0]}/{job[1]:09}.parquet"),
            ranges,
            f"project: {len(ranges):,} files in the order of the paths",
        )
        delete_folder(folder)
    scores = pa.concat_tables([SCORES.empty_table(), *(scores for _, scores in done)])
    return sum(file.rows for file, _ in done), scores


def _ranges(files: list[_Sorted]) -> list[_Range]:
    """Ranges of about :data:`ROWS_OF_A_FILE` rows that cover all files."""
    samples = sorted({path for file in files for path in file.samples[:-1]})
    step = max(1, ROWS_OF_A_FILE // _ROWS_OF_A_SAMPLE)
    bounds: list[str | None] = [None, *samples[step::step], None]
    found = []
    for first, end in itertools.pairwise(bounds):
        some = [
            file.name
            for file in files
            if (end is None or file.samples[0] < end)
            and (first is None or file.samples[-1] >= first)
        ]
        if some:
            found.append(_Range(first, end, some))
    return found


def _merge(span: _Range, folder: str, uri: str) -> None:
    """Writes the rows of a range as one file."""
    tables = []
    for name in span.files:
        rows = read_rows(f"{folder}/{name}")
        if span.first is not None:
            rows = rows.filter(pc.greater_equal(rows["path"], span.first))
        if span.end is not None:
            rows = rows.filter(pc.less(rows["path"], span.end))
        tables.append(rows)
    write_rows(uri, pa.concat_tables(tables).sort_by("path"))
