"""Writes the files of a saved model, and loads them with Spark."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyspark
from pyspark.ml import PipelineModel

from fruits.sources.row_counts import RowCounts
from fruits.spark.model_files import model_files
from fruits.spark.saved_stage import SavedStage


def label_counts(labels: Sequence[str]) -> pa.Table:
    """The number of images with each label, from the label of each image."""
    counts = RowCounts("label")
    counts.add(pa.table({"label": labels}))
    return counts.table()


def write(stages: Sequence[SavedStage], folder: Path, version: str = pyspark.__version__) -> None:
    for name, content in model_files(stages, version):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def written_and_loaded(stages: Sequence[SavedStage], folder: Path) -> PipelineModel:
    write(stages, folder)
    return PipelineModel.load(str(folder))
