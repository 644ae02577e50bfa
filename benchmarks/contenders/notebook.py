"""The common part of the notebooks with Spark: reading, and Spark's own scaler and PCA."""

import functools
from typing import Any

from pyspark.core.broadcast import Broadcast
from pyspark.ml.feature import PCA, MinMaxScaler, StringIndexer
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.contenders.task import Stages, Task, build_model


def read_labelled(spark: SparkSession, images: str) -> DataFrame:
    """Columns path, label (the parent folder) and content."""
    files = spark.read.format("binaryFile").options(
        pathGlobFilter="*.jpg", recursiveFileLookup=True
    )
    label = F.element_at(F.split("path", "/"), -2)
    return files.load(images).select("path", label.alias("label"), "content")


@functools.cache
def kept_model(weights: Broadcast[Any]) -> Any:
    """The model with the broadcast weights, built once in each Python worker."""
    return build_model(weights.value)


def write(table: DataFrame, task: Task, name: str) -> DataFrame:
    """Writes the table as Parquet, and returns the table that is read from it."""
    uri = f"{task.output}/{name}"
    table.write.parquet(uri)
    return table.sparkSession.read.parquet(uri)


def reduce(features: DataFrame, task: Task, stage: Stages) -> None:
    """Applies min-max scaling and PCA to the column ``features``, and writes the result."""
    with stage("fit"):
        vector = array_to_vector(F.col("features")).alias("vector")
        vectors = features.select("path", "label", vector)
        indexer = StringIndexer(inputCol="label", outputCol="label_index").fit(vectors)
        indexed = indexer.transform(vectors)
        scaler = MinMaxScaler(inputCol="vector", outputCol="scaled").fit(indexed)
        scaled = scaler.transform(indexed)
        pca = PCA(k=task.components, inputCol="scaled", outputCol="pca").fit(scaled)
    with stage("project"):
        write(pca.transform(scaled).select("path", "label", "label_index", "pca"), task, "pca")
