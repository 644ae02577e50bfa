"""Model files that are written without Spark jobs equal those that Spark itself writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

from fruits.classify.fit import fit_lda
from fruits.features.moments import Moments
from fruits.networks.graph import CompiledGraph
from fruits.reduction.fit import fit_reduction
from fruits.spark.model_files import model_files
from fruits.spark.models import classifier_stages, pipeline_model, reduction_stages


def write(model: PipelineModel, folder: Path, version: str) -> None:
    for name, content in model_files(model, version):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def parts(folder: Path) -> dict[str, Path]:
    """The only file in each folder of metadata or data."""
    found = sorted(folder.rglob("part-*"))
    by_folder = {str(file.parent.relative_to(folder)): file for file in found}
    assert len(by_folder) == len(found)
    return by_folder


def about(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    assert content.pop("timestamp") > 1e12
    return content


def columns(file: pq.ParquetFile) -> list[str]:
    """The schema, without the address of the object and its name."""
    return str(file.schema).splitlines()[2:]


def kept_in(file: pq.ParquetFile) -> dict[str, Any]:
    """The metadata that Spark adds to a file: its schema as JSON, and its version."""
    kept = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
    return {key: json.loads(text) if "{" in text else text for key, text in kept.items()}


def unpacked(blocks: list[dict[str, Any]]) -> CompiledGraph:
    assert [block["number"] for block in blocks] == list(range(len(blocks)))
    assert len(blocks) > 1
    return CompiledGraph.from_bytes(b"".join(block["block"] for block in blocks))


def models(graph: CompiledGraph) -> list[PipelineModel]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 6)).astype(np.float32)
    moments = Moments.of(features, ["a", "ä 1", "b"] * 10)
    classifier = fit_lda(moments, 0.1)
    labels = {"a": 1, "ä 1": 1, "b": 1}
    whole = pipeline_model(labels, graph, fit_reduction(moments, "minmax", 3), classifier)
    stages: list[Transformer] = [*reduction_stages(fit_reduction(moments, "standard", 0.9))]
    return [whole, PipelineModel(stages + classifier_stages(fit_lda(moments, 0.1, "sqrt-l2")))]


@pytest.mark.parametrize("which", [0, 1])
def test_each_file_has_the_schema_and_the_values_of_the_one_that_spark_writes(
    spark: SparkSession, graph: CompiledGraph, tmp_path: Path, which: int
) -> None:
    model = models(graph)[which]
    model.save(str(tmp_path / "theirs"))
    write(model, tmp_path / "ours", spark.version)
    theirs, ours = parts(tmp_path / "theirs"), parts(tmp_path / "ours")
    assert ours.keys() == theirs.keys()
    for name, file in ours.items():
        if name.endswith("metadata"):
            assert about(file) == about(theirs[name])
            continue
        one, other = pq.ParquetFile(file), pq.ParquetFile(theirs[name])
        assert columns(one) == columns(other)
        assert kept_in(one) == kept_in(other)
        rows = [table.read().to_pylist() for table in (one, other)]
        if name.endswith("graph"):
            # An archive contains the time of its creation.
            assert [unpacked(table) for table in rows] == [graph, graph]
        else:
            assert rows[0] == rows[1]


def test_plain_pyspark_loads_them_and_they_compute_the_same(
    spark: SparkSession, graph: CompiledGraph, tmp_path: Path
) -> None:
    model = models(graph)[1]
    write(model, tmp_path / "model", spark.version)
    loaded = PipelineModel.load(str(tmp_path / "model"))
    rows = [(Vectors.dense(row),) for row in np.random.default_rng(1).normal(size=(5, 6))]
    vectors = spark.createDataFrame(rows, ["features"])
    assert loaded.transform(vectors).collect() == model.transform(vectors).collect()
    assert [stage.uid for stage in loaded.stages] == [stage.uid for stage in model.stages]
