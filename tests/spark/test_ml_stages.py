import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyspark.errors import PythonException
from pyspark.ml import PipelineModel
from pyspark.ml.feature import StringIndexer
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession
from pyspark.sql.functions import col
from saved_model import label_counts, written_and_loaded

from fruits.classify.transforms import transform_features
from fruits.features.moments import Moments
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import featurize
from fruits.reduction.fit import fit_reduction
from fruits.sources.naming import Naming
from fruits.spark.ml_stages import ImageFeaturizer, PathToLabel, SignedSqrt, transform_stages
from fruits.spark.models import pipeline_stages
from fruits.spark.read_images import read_images


def test_the_label_of_a_path_is_its_folder(spark: SparkSession) -> None:
    paths = ["file:/a/b/Apple Red 1/r_0_100.jpg", "s3a://b/x/50% #1/y.z/é.png"]
    rows = spark.createDataFrame([(p,) for p in paths], "uri string")
    labels = PathToLabel(inputCol="uri", outputCol="fruit").transform(rows).collect()
    assert [row.fruit for row in labels] == ["Apple Red 1", "y.z"]


@pytest.mark.parametrize("split", ["auto", "none"])
def test_a_folder_that_names_a_side_is_a_label_only_if_it_was_one_in_the_run(
    spark: SparkSession, graph: CompiledGraph, tmp_path: Path, split: str
) -> None:
    moments = Moments.of(np.random.default_rng(0).normal(size=(9, 4)))
    rules = Naming(split=split)
    stages = pipeline_stages(
        label_counts(["Fig"]), graph, fit_reduction(moments, "minmax", 2), naming=rules
    )
    paths = ["file:/d/Training/1.jpg", "file:/d/Training/Fig/1.jpg"]
    rows = spark.createDataFrame([(path,) for path in paths], "path string")
    model = written_and_loaded(stages[:1], tmp_path / "model")
    assert [row.label for row in model.transform(rows).collect()] == list(
        map(rules.label_of, paths)
    )


def test_a_model_that_was_saved_without_the_rule_for_splits_is_loaded(
    spark: SparkSession, tmp_path: Path
) -> None:
    PathToLabel().write().save(str(tmp_path / "stage"))
    (metadata,) = (tmp_path / "stage" / "metadata").glob("part-*")
    content = json.loads(metadata.read_text())
    assert content["defaultParamMap"].pop("split") == "auto"
    metadata.write_text(json.dumps(content))
    metadata.with_name(f".{metadata.name}.crc").unlink(missing_ok=True)
    rows = spark.createDataFrame([("/d/Fig/1.jpg",)], "path string")
    assert PathToLabel.load(str(tmp_path / "stage")).transform(rows).first().label == "Fig"


def test_features_are_vectors_and_other_columns_stay(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path]
) -> None:
    images = read_images(spark, str(draw({"Fig": 11})))
    rows = ImageFeaturizer(graph=graph).transform(images).orderBy("path").collect()
    assert rows[0].__fields__ == [*images.columns, "features"]
    for row in rows:
        expected = next(featurize([bytes(row.content)], graph))
        np.testing.assert_array_equal(row.features.toArray().astype(np.float32), expected)


def test_an_image_without_features_fails_is_skipped_or_kept_with_its_reason(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path]
) -> None:
    root = draw({"Fig": 9})
    (root / "Fig" / "4_100.jpg").write_text("no picture")
    images = read_images(spark, str(root))
    with pytest.raises(PythonException, match="not an image"):
        ImageFeaturizer(graph=graph).transform(images).collect()
    skipped = ImageFeaturizer(graph=graph, handleInvalid="skip").transform(images)
    assert skipped.count() == 8
    assert "error" not in skipped.columns
    keep = ImageFeaturizer(graph=graph, handleInvalid="keep", errorCol="why")
    bad = keep.transform(images).where("features is null").collect()
    assert [(Path(row.path).name, row.why[:12]) for row in bad] == [("4_100.jpg", "not an image")]
    assert keep.transform(images).where("why is null and features is not null").count() == 8


def test_the_cnn_runs_once_for_each_image_even_if_its_result_is_used_twice(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path]
) -> None:
    images = read_images(spark, str(draw({"Fig": 4})))
    rows = ImageFeaturizer(graph=graph, handleInvalid="skip").transform(images)
    used = rows.where("features is not null").select("features", col("features").alias("again"))
    plan = used._jdf.queryExecution().executedPlan().toString()
    assert plan.count("featurized(content") == 1


def test_labels_have_the_indices_that_spark_gives_them(
    spark: SparkSession, graph: CompiledGraph, tmp_path: Path
) -> None:
    labels = ["Kiwi", "fig", "Kiwi", "Äpfel", "Fig", "fig", "Lemon", "Lemon", "Lemon", "été"]
    moments = Moments.of(np.random.default_rng(0).normal(size=(9, 4)))
    stages = pipeline_stages(label_counts(labels), graph, fit_reduction(moments, "minmax", 2))
    model = written_and_loaded(stages[1:2], tmp_path / "model")
    rows = spark.createDataFrame([(label,) for label in [*labels, "new"]], "label string")
    learned = StringIndexer(inputCol="label", outputCol="learned", handleInvalid="keep").fit(
        rows.where("label != 'new'")
    )
    both = learned.transform(model.transform(rows)).collect()
    assert [row.labelIndex for row in both] == [row.learned for row in both]
    assert both[-1].learned == 6


def test_both_stages_survive_saving_with_their_parameters_and_the_graph(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    stages = [
        PathToLabel(outputCol="fruit"),
        ImageFeaturizer(graph=graph, outputCol="vector", handleInvalid="skip"),
    ]
    model = PipelineModel(stages)
    model.write().save(str(tmp_path / "model"))
    loaded = PipelineModel.load(str(tmp_path / "model"))
    featurizer = loaded.stages[1]
    assert isinstance(featurizer, ImageFeaturizer)
    assert featurizer.graph == graph
    assert featurizer.uid == stages[1].uid
    assert featurizer.getHandleInvalid() == "skip"
    images = read_images(spark, str(draw({"Fig": 3})))
    assert loaded.transform(images).collect() == model.transform(images).collect()


def test_the_signed_root_has_the_bits_that_the_classifier_has(spark: SparkSession) -> None:
    rng = np.random.default_rng(0)
    numbers = (rng.normal(size=(50, 40)) * 10.0 ** rng.integers(-9, 9, (50, 40))).astype(np.float32)
    numbers[0, :3] = 0, -0.0, np.nan
    vectors = [(n, Vectors.dense(row)) for n, row in enumerate(numbers)]
    rows = SignedSqrt().transform(spark.createDataFrame(vectors, ["n", "features"]))
    roots = [row.mapped.toArray() for row in rows.orderBy("n").collect()]
    np.testing.assert_array_equal(roots, transform_features(numbers, "sqrt"))


def test_unit_rows_are_those_that_the_classifier_has(spark: SparkSession) -> None:
    rng = np.random.default_rng(0)
    numbers = (rng.normal(size=(50, 40)) * 10.0 ** rng.integers(-9, 9, (50, 40))).astype(np.float32)
    numbers[0] = 0
    vectors = [(n, Vectors.dense(row)) for n, row in enumerate(numbers)]
    rows = spark.createDataFrame(vectors, ["n", "features"])
    units = PipelineModel(transform_stages("sqrt-l2")).transform(rows).orderBy("n").collect()
    found = np.stack([row.normalized.toArray() for row in units])
    np.testing.assert_allclose(found, transform_features(numbers, "sqrt-l2"), rtol=1e-7)
    assert not found[0].any()


def small_model(graph: CompiledGraph, folder: Path, scaler: str = "minmax") -> PipelineModel:
    """A model that is loaded from a folder."""
    moments = Moments.of(np.random.default_rng(0).normal(size=(9, graph.dimension)))
    stages = pipeline_stages(label_counts(["Fig"]), graph, fit_reduction(moments, scaler, 3))
    return written_and_loaded(stages, folder)


@pytest.mark.parametrize("scaler", ["minmax", "standard", "none"])
def test_the_model_returns_every_row_and_says_why_one_has_no_components(
    spark: SparkSession,
    graph: CompiledGraph,
    draw: Callable[..., Path],
    scaler: str,
    tmp_path: Path,
) -> None:
    root = draw({"Fig": 5})
    (root / "Fig" / "2_100.jpg").write_text("no picture")
    model = small_model(graph, tmp_path / "model", scaler)
    rows = model.transform(read_images(spark, str(root))).orderBy("path").collect()
    assert [row.error is None for row in rows] == [True, True, False, True, True]
    assert rows[2].error.startswith("not an image")
    assert (rows[2].features, rows[2].pca, rows[2].label) == (None, None, "Fig")
    for row in (rows[0], rows[1], rows[3], rows[4]):
        assert np.isfinite(row.pca.toArray()).all()


def test_the_model_takes_contents_without_a_path_and_null_contents(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    images = read_images(spark, str(draw({"Fig": 3})))
    model = small_model(graph, tmp_path / "model")
    expected = [row.pca for row in model.transform(images).orderBy("path").collect()]
    contents = [
        (number, bytes(row.content)) for number, row in enumerate(images.orderBy("path").collect())
    ]
    alone = spark.createDataFrame([*contents, (3, None)], "id int, content binary")
    rows = model.transform(alone).orderBy("id").collect()
    assert [row.pca for row in rows] == [*expected, None]
    assert rows[3].error == "unreadable: the content is null"
