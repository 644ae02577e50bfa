"""Ray Data: its own reader of images, then actors that keep the model."""

from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from benchmarks.contenders.task import (
    BATCH,
    SIDE,
    Stages,
    Task,
    features_of,
    kept_model,
    label_of,
    main,
    reduce_in_memory,
)

Batch = dict[str, NDArray[Any]]


class Network:
    """An actor: it loads the model once, and then processes many batches."""

    def __init__(self, weights: str) -> None:
        self._weights = weights
        kept_model(weights)

    def __call__(self, batch: Batch) -> Batch:
        return {"path": batch["path"], "features": features_of(batch["image"], self._weights)}


def run(task: Task, stage: Stages) -> None:
    ray.init(num_cpus=task.cores, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    features = f"{task.output}/features"
    with stage("extract"):
        images = ray.data.read_images(
            task.images,
            size=(SIDE, SIDE),
            mode="RGB",
            include_paths=True,
            file_extensions=["jpg"],
        )
        # One actor for each core. Each one reserves half a core, so that the readers get the rest.
        images.map_batches(
            Network,
            fn_constructor_args=[task.weights],
            batch_size=BATCH,
            compute=ray.data.ActorPoolStrategy(size=task.cores),
            num_cpus=0.5,
        ).write_parquet(features)
    with stage("fit"):
        table = ray.data.read_parquet(features).to_pandas()
        reduced = reduce_in_memory(np.stack(table["features"]), task.components)
    with stage("project"):
        labels = [label_of(path) for path in table["path"]]
        rows = table.assign(label=labels, pca=list(reduced))[["path", "label", "pca"]]
        ray.data.from_pandas(rows).write_parquet(f"{task.output}/pca")
    ray.shutdown()


if __name__ == "__main__":
    main(run)
