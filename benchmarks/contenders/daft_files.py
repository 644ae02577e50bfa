"""Daft: it downloads, decodes and resizes by itself; then a class that keeps the model."""

import daft
import numpy as np
from daft import DataType, Series, col
from daft.functions import decode_image, download, resize

from benchmarks.contenders.task import (
    BATCH,
    DIMENSION,
    SIDE,
    Stages,
    Task,
    features_of,
    label_of,
    main,
    reduce_in_memory,
)


def run(task: Task, stage: Stages) -> None:
    # One instance for each core. Daft runs functions of images in threads, even if processes are
    # requested. Sending encoded images to processes that decode them with Pillow is not faster.
    @daft.cls(max_concurrency=task.cores)
    class Network:
        def __init__(self, weights: str) -> None:
            self._weights = weights

        @daft.method.batch(
            return_dtype=DataType.fixed_size_list(DataType.float32(), DIMENSION), batch_size=BATCH
        )
        def features(self, images: Series) -> np.ndarray:
            return features_of(np.stack(images.to_pylist()), self._weights)

    features = f"{task.output}/features"
    with stage("extract"):
        files = daft.from_glob_path(f"{task.images}/**/*.jpg").select("path")
        image = resize(decode_image(download(col("path")), mode="RGB"), SIDE, SIDE)
        network = Network(task.weights)
        files.select("path", network.features(image).alias("features")).write_parquet(features)
    with stage("fit"):
        table = daft.read_parquet(features).to_arrow()
        matrix = table["features"].combine_chunks().flatten().to_numpy().reshape(-1, DIMENSION)
        reduced = reduce_in_memory(matrix, task.components)
    with stage("project"):
        paths = table["path"].to_pylist()
        labels = [label_of(path) for path in paths]
        rows = {"path": paths, "label": labels, "pca": list(reduced)}
        daft.from_pydict(rows).write_parquet(f"{task.output}/pca")


if __name__ == "__main__":
    main(run)
