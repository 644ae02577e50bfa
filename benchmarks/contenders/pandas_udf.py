"""The notebook with an iterator of pandas batches: one model per task, ``predict`` on each batch.

The features are written to Parquet, so the network runs once.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from pyspark.sql.pandas.functions import pandas_udf

from benchmarks.contenders.notebook import read_labelled, reduce, write
from benchmarks.contenders.task import (
    Stages,
    Task,
    build_model,
    load_weights,
    main,
    pixels_of,
    preprocess,
)
from fruits.spark.session import get_spark

# The number that such notebooks pass to `repartition`.
PARTITIONS = 20


def run(task: Task, stage: Stages) -> None:
    spark = get_spark()
    weights = spark.sparkContext.broadcast(load_weights(task.weights))

    @pandas_udf("array<float>")  # type: ignore[call-overload]
    def featurize(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        model = build_model(weights.value)
        for contents in batches:
            pixels = np.stack(contents.map(pixels_of).tolist())
            yield pd.Series(list(model.predict(preprocess(pixels), verbose=0)))

    with stage("extract"):
        images = read_labelled(spark, task.images).repartition(PARTITIONS)
        features = write(
            images.select("path", "label", featurize("content").alias("features")),
            task,
            "features",
        )
    reduce(features, task, stage)


if __name__ == "__main__":
    main(run)
