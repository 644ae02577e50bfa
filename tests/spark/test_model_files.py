"""Model files that are written without Spark equal those that Spark itself writes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import (
    PCA,
    IndexToString,
    MinMaxScaler,
    Normalizer,
    StandardScaler,
    StringIndexer,
)
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from saved_model import label_counts, write, written_and_loaded

from fruits.classify.fit import Discriminant
from fruits.classify.model import Classifier
from fruits.classify.transforms import TRANSFORMS
from fruits.features.moments import Moments
from fruits.networks.graph import CompiledGraph
from fruits.reduction.fit import Reduction, deviation, fit_reduction
from fruits.reduction.transform import affine
from fruits.spark.ml_stages import ImageFeaturizer, transform_stages
from fruits.spark.models import classifier_stages, pipeline_stages, reduction_stages
from fruits.spark.saved_stage import SavedStage

TESTS = Path(__file__).parents[1]
LABELS = ["a", "ä 1", "b"] * 10


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


def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)


def fitted(scaler: str, components: int | float, transform: str) -> tuple[Reduction, Classifier]:
    moments = Moments.of(features(), LABELS)
    classifier = Discriminant.of(moments).classifier(0.1, transform)
    return fit_reduction(moments, scaler, components), classifier


def models(graph: CompiledGraph) -> list[list[SavedStage]]:
    whole = pipeline_stages(label_counts(LABELS), graph, *fitted("minmax", 3, "none"))
    reduction, classifier = fitted("standard", 0.9, "sqrt-l2")
    return [whole, reduction_stages(reduction) + classifier_stages(classifier)]


def without_name(default: str) -> str:
    """Spark's default for the name of an output, which begins with the unique name of a stage."""
    return re.sub(r"^\w+_[0-9a-f]{12}__output$", "NAME__output", default)


@pytest.mark.parametrize("which", [0, 1])
def test_each_file_has_the_schema_and_the_values_of_the_one_that_spark_writes(
    spark: SparkSession, graph: CompiledGraph, tmp_path: Path, which: int
) -> None:
    stages = models(graph)[which]
    written_and_loaded(stages, tmp_path / "ours").save(str(tmp_path / "theirs"))
    theirs, ours = parts(tmp_path / "theirs"), parts(tmp_path / "ours")
    assert ours.keys() == theirs.keys()
    for name, file in ours.items():
        if name.endswith("metadata"):
            contents = about(file), about(theirs[name])
            for content in contents:
                # PySpark ignores this default of a loaded stage, and makes a new name.
                defaults = content["defaultParamMap"]
                if "outputCol" in defaults:
                    defaults["outputCol"] = without_name(defaults["outputCol"])
            assert contents[0] == contents[1]
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


def test_stages_have_the_parameters_defaults_and_schemas_of_those_that_spark_fits(
    spark: SparkSession, graph: CompiledGraph, tmp_path: Path
) -> None:
    index = pipeline_stages(label_counts(LABELS), graph, *fitted("none", 3, "none"))[1]
    reduction, classifier = fitted("minmax", 3, "sqrt-l2")
    standard = reduction_stages(fitted("standard", 3, "none")[0])[0]
    signed_root, *classified = classifier_stages(classifier)
    assert signed_root.class_name == "fruits.spark.ml_stages.SignedSqrt"
    stages = [index, *reduction_stages(reduction), standard, *classified]
    write(stages, tmp_path / "ours")

    vectors = [Vectors.dense(row) for row in features()]
    rows = [(label, one, one, one) for label, one in zip(LABELS, vectors, strict=True)]
    names = ["label", "features", "scaled", "normalized"]
    table = spark.createDataFrame(rows, names).coalesce(1).cache()
    place = F.array_position(F.array([F.lit(one) for one in classifier.labels]), F.col("label"))
    expected: list[Any] = [
        StringIndexer(inputCol="label", outputCol="labelIndex", handleInvalid="keep").fit(table),
        MinMaxScaler(inputCol="features", outputCol="scaled").fit(table.drop("scaled")),
        PCA(k=3, inputCol="scaled", outputCol="pca").fit(table),
        StandardScaler(withMean=True, withStd=True, inputCol="features", outputCol="scaled").fit(
            table.drop("scaled")
        ),
        Normalizer(p=2.0, inputCol="mapped", outputCol="normalized"),
        LogisticRegression(featuresCol="normalized", family="multinomial").fit(
            table.withColumn("label", place - 1)
        ),
        IndexToString(
            inputCol="prediction", outputCol="predictedLabel", labels=list(classifier.labels)
        ),
    ]

    assert len(stages) == len(expected)
    for number, (stage, theirs) in enumerate(zip(stages, expected, strict=True)):
        theirs.save(str(tmp_path / str(number)))
        ours = tmp_path / "ours" / "stages" / f"{number}_{stage.uid}"
        files, others = parts(ours), parts(tmp_path / str(number))
        assert files.keys() == others.keys()
        named = json.dumps(about(files["metadata"])).replace(stage.uid, theirs.uid)
        assert json.loads(named) == about(others["metadata"])
        assert stage.uid.partition("_")[0] == theirs.uid.partition("_")[0]
        assert len(stage.uid) == len(theirs.uid)
        if "data" in files:
            one, other = pq.ParquetFile(files["data"]), pq.ParquetFile(others["data"])
            assert columns(one) == columns(other)
            assert kept_in(one) == kept_in(other)
            if number < 2:  # The other values are sums, which are rounded in another way.
                assert one.read().to_pylist() == other.read().to_pylist()


def test_the_stages_before_a_regression_are_those_with_which_spark_fits_one(
    spark: SparkSession,
) -> None:
    for transform in TRANSFORMS:
        theirs = transform_stages(transform)
        ours = classifier_stages(fitted("none", 3, transform)[1])[:-2]
        assert len(ours) == len(theirs)
        for stage, other in zip(ours, theirs, strict=True):
            assert stage.class_name.rpartition(".")[2] == type(other).__name__
            assert stage.params == {one.name: value for one, value in other._paramMap.items()}


def test_plain_pyspark_loads_them_and_they_compute_what_was_fitted(
    spark: SparkSession, graph: CompiledGraph, tmp_path: Path
) -> None:
    reduction, classifier = fitted("standard", 0.9, "sqrt-l2")
    stages = models(graph)[1]
    loaded = written_and_loaded(stages, tmp_path / "model")
    assert [stage.uid for stage in loaded.stages] == [stage.uid for stage in stages]
    scaler, pca, _, _, regression, _ = loaded.stages
    learned: list[tuple[Any, Any]] = [
        (scaler.mean, reduction.moments.mean),
        (scaler.std, deviation(reduction.moments)),
        (pca.pc, reduction.axes),
        (pca.explainedVariance, reduction.explained_variance[: reduction.components]),
        (regression.coefficientMatrix, classifier.coefficients / classifier.temperature),
        (regression.interceptVector, classifier.intercept / classifier.temperature),
    ]
    for value, wanted in learned:
        np.testing.assert_array_equal(value.toArray(), wanted)

    new = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    vectors = spark.createDataFrame([(Vectors.dense(row),) for row in new], ["features"])
    rows = loaded.transform(vectors).collect()
    components = affine(new, reduction.weights, reduction.offset)
    np.testing.assert_allclose([row.pca for row in rows], components, rtol=0, atol=1e-5)
    chances = classifier.probabilities(new)
    np.testing.assert_allclose([row.probability for row in rows], chances, rtol=0, atol=1e-6)
    best = [classifier.labels[place] for place in chances.argmax(axis=1)]
    assert [row.predictedLabel for row in rows] == best

    loaded.save(str(tmp_path / "again"))
    again = PipelineModel.load(str(tmp_path / "again"))
    assert again.transform(vectors).collect() == rows


@pytest.mark.parametrize("version", ["4.1.0-amzn-1", "4.1.0+amzn.1"])
def test_spark_loads_them_whatever_follows_the_numbers_of_the_version(
    spark: SparkSession, graph: CompiledGraph, tmp_path: Path, version: str
) -> None:
    stages = models(graph)[1]
    write(stages, tmp_path / "model", version)
    for file in parts(tmp_path / "model").values():
        assert version.encode() in file.read_bytes()
    loaded = PipelineModel.load(str(tmp_path / "model"))
    assert [stage.uid for stage in loaded.stages] == [stage.uid for stage in stages]


def test_they_are_written_without_java(
    spark: SparkSession, graph: CompiledGraph, tmp_path: Path
) -> None:
    code = """
import sys
from pathlib import Path
from pyspark import SparkContext
from fruits.networks.graph import CompiledGraph
from saved_model import write
from test_model_files import models

folder = Path(sys.argv[1])
graph = CompiledGraph.from_bytes((folder / "graph").read_bytes())
for number, stages in enumerate(models(graph)):
    write(stages, folder / str(number))
print(SparkContext._gateway, SparkContext._active_spark_context)
"""
    (tmp_path / "graph").write_bytes(graph.to_bytes())
    modules = [*sys.path, str(TESTS), str(TESTS / "spark")]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(modules), "JAVA_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "None None\n"

    whole, alone = (PipelineModel.load(str(tmp_path / number)) for number in "01")
    (featurizer,) = [one for one in whole.stages if isinstance(one, ImageFeaturizer)]
    assert featurizer.graph == graph
    for loaded, stages in zip((whole, alone), models(graph), strict=True):
        kinds = [stage.class_name.rpartition(".")[2] for stage in stages]
        assert [type(stage).__name__ for stage in loaded.stages] == kinds
    reduction = fitted("standard", 0.9, "sqrt-l2")[0]
    np.testing.assert_array_equal(alone.stages[1].pc.toArray(), reduction.axes)
