"""Spark's ``predict_batch_udf``: pixels are a column of numbers, and Spark makes the batches."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import ArrayType, FloatType

from benchmarks.contenders.notebook import read_labelled, reduce, write
from benchmarks.contenders.task import (
    BATCH,
    SIDE,
    Stages,
    Task,
    features_of,
    main,
    pixels_of,
)
from fruits.spark.session import get_spark


def run(task: Task, stage: Stages) -> None:
    spark = get_spark()
    # A row of pixels takes 600 KB: Spark's default batches would not fit into memory.
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH)
    weights = task.weights

    @pandas_udf("array<float>")  # type: ignore[call-overload]
    def decode(contents: pd.Series) -> pd.Series:
        return contents.map(lambda content: pixels_of(content).astype(np.float32).ravel())

    def make_predict() -> Callable[[NDArray[Any]], NDArray[np.float32]]:
        return lambda pixels: features_of(pixels, weights)

    featurize = predict_batch_udf(
        make_predict,
        return_type=ArrayType(FloatType()),
        batch_size=BATCH,
        input_tensor_shapes=[[SIDE, SIDE, 3]],
    )
    with stage("extract"):
        images = read_labelled(spark, task.images).repartition(4 * task.cores)
        pixels = images.select("path", "label", decode("content").alias("pixels"))
        features = write(
            pixels.select("path", "label", featurize("pixels").alias("features")),
            task,
            "features",
        )
    reduce(features, task, stage)


if __name__ == "__main__":
    main(run)
