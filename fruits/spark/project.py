"""Projection on Spark: the committed features -> a table of components, in the same order.

Python workers read, multiply and write; the JVM only hands out the tasks.
"""

import pyarrow as pa
from pyspark.sql import SparkSession

from fruits.features.rows import lists, matrix, read_rows, write_rows
from fruits.features.table import FeatureTable
from fruits.reduction.fit import Reduction
from fruits.reduction.transform import affine
from fruits.spark.tasks import run_tasks

# Files of features, of a few hundred rows, that become one file of components.
FILES_OF_A_TASK = 8


def project(
    spark: SparkSession,
    store: FeatureTable,
    reduction: Reduction,
    uri: str,
    listing: pa.Table | None = None,
) -> None:
    """Writes the components of all committed features, or of those of some files only.

    Args:
        spark: the session.
        store: the features.
        reduction: from d features to k components.
        uri: of the folder that is made: Parquet of path string, label string and pca
            ``array<float>``, whose files in the order of their names have the rows in the order of
            the commits.
        listing: the files that count, a table with ``path``; None for all.
    """
    files = store.files()
    groups = [files[n : n + FILES_OF_A_TASK] for n in range(0, len(files), FILES_OF_A_TASK)]
    folded = spark.sparkContext.broadcast((reduction.weights, reduction.offset))
    paths = spark.sparkContext.broadcast(None if listing is None else listing["path"])

    def work(job: tuple[int, list[str]]) -> None:
        number, group = job
        tables = [read_rows(file, ["path", "label", "features"], paths.value) for file in group]
        rows = pa.concat_tables(tables).combine_chunks()
        if rows.num_rows:
            components = affine(matrix(rows["features"].chunk(0)), *folded.value)
            columns = {"path": rows["path"], "label": rows["label"], "pca": lists(components)}
            write_rows(f"{uri}/{number:09}.parquet", pa.table(columns))

    run_tasks(spark, work, list(enumerate(groups)), f"project: {len(files):,} files of features")
    folded.destroy()
    paths.destroy()
