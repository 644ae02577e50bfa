"""The notebook that processes single rows: a plain UDF, one image per call, no cache.

Without a cache, the network runs again for the fit of the scaler, for that of the PCA, and for the
output. So there is no separate stage of extraction.
"""

import numpy as np
from pyspark.sql import functions as F

from benchmarks.contenders.notebook import kept_model, read_labelled, reduce
from benchmarks.contenders.task import (
    Stages,
    Task,
    load_weights,
    main,
    pixels_of,
    preprocess,
)
from fruits.spark.session import get_spark


def run(task: Task, stage: Stages) -> None:
    spark = get_spark()
    weights = spark.sparkContext.broadcast(load_weights(task.weights))

    @F.udf("array<float>", useArrow=False)
    def featurize(content: bytes) -> list[float]:
        batch = preprocess(pixels_of(content)[np.newaxis])
        return kept_model(weights).predict(batch, verbose=0)[0].tolist()

    images = read_labelled(spark, task.images)
    reduce(images.withColumn("features", featurize("content")), task, stage)


if __name__ == "__main__":
    main(run)
