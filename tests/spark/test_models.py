from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession
from saved_model import label_counts, written_and_loaded

from fruits.classify.fit import Discriminant
from fruits.classify.model import Classifier
from fruits.classify.transforms import TRANSFORMS, transform_features
from fruits.features.moments import Moments
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import featurize
from fruits.reduction.fit import fit_reduction
from fruits.spark.models import classifier_stages, pipeline_stages
from fruits.spark.read_images import read_images

LABELS = {"Fig": 6, "Äpfel 1": 5, "Kiwi": 4}
PREDICTED = ["rawPrediction", "probability", "prediction", "predictedLabel"]


@pytest.fixture
def images(draw: Callable[..., Path]) -> Path:
    return draw(LABELS)


def features_of(graph: CompiledGraph, images: Path) -> tuple[list[str], np.ndarray]:
    """The labels of the images by path, and their features, computed without Spark."""
    paths = sorted(images.glob("*/*.jpg"))
    rows = list(featurize((path.read_bytes() for path in paths), graph))
    assert not any(isinstance(row, str) for row in rows)
    return [path.parent.name for path in paths], np.stack(rows)  # type: ignore[arg-type]


def classifier_of(labels: list[str], features: np.ndarray, transform: str) -> Classifier:
    """A classifier with some errors, so that there are large and small probabilities."""
    moments = Moments.of(transform_features(features[::2], transform), labels[::2])
    return replace(Discriminant.of(moments).classifier(0.9, transform), temperature=40.0)


def model_of(
    folder: Path,
    graph: CompiledGraph,
    labels: list[str],
    features: np.ndarray,
    classifier: Classifier,
) -> PipelineModel:
    """The model, loaded from a folder that is written."""
    reduction = fit_reduction(Moments.of(features), "minmax", 3)
    stages = pipeline_stages(label_counts(labels), graph, reduction, classifier)
    return written_and_loaded(stages, folder)


def chances(rows: DataFrame) -> np.ndarray:
    return np.array([row.probability for row in rows.orderBy("path").collect()])


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_probabilities_of_the_saved_model_are_those_of_the_classifier(
    spark: SparkSession, graph: CompiledGraph, images: Path, tmp_path: Path, transform: str
) -> None:
    labels, features = features_of(graph, images)
    classifier = classifier_of(labels, features, transform)
    expected = classifier.probabilities(features)
    model = model_of(tmp_path / "model", graph, labels, features, classifier)

    rows = model.transform(read_images(spark, str(images))).orderBy("path").collect()

    # Spark divides by the length in float64; our code then rounds to float32.
    atol = 1e-6 if transform == "sqrt-l2" else 1e-9
    np.testing.assert_allclose([row.probability for row in rows], expected, rtol=0, atol=atol)
    assert expected.max(axis=1).min() < 0.9  # not all probabilities are 0 or 1
    best = expected.argmax(axis=1)
    assert [row.prediction for row in rows] == best.tolist()
    assert [row.predictedLabel for row in rows] == [classifier.labels[place] for place in best]


def test_a_model_that_spark_saves_again_predicts_the_same(
    spark: SparkSession, graph: CompiledGraph, images: Path, tmp_path: Path
) -> None:
    labels, features = features_of(graph, images)
    classifier = classifier_of(labels, features, "sqrt-l2")  # the most stages
    model = model_of(tmp_path / "model", graph, labels, features, classifier)
    model.save(str(tmp_path / "again"))

    before, after = (
        each.transform(read_images(spark, str(images))).orderBy("path").collect()
        for each in (model, PipelineModel.load(str(tmp_path / "again")))
    )

    assert len(before) == len(labels)
    predicted = [[[row[name] for name in PREDICTED] for row in each] for each in (before, after)]
    assert predicted[0] == predicted[1]


def test_plain_pyspark_loads_the_stage_and_predicts_with_it(
    spark: SparkSession, graph: CompiledGraph, images: Path, tmp_path: Path
) -> None:
    labels, features = features_of(graph, images)
    classifier = classifier_of(labels, features, "none")
    model = model_of(tmp_path / "model", graph, labels, features, classifier)

    (stage,) = (tmp_path / "model" / "stages").glob("*LogisticRegression*")
    alone = LogisticRegressionModel.load(str(stage))

    assert alone.numClasses == 3
    assert alone.numFeatures == graph.dimension
    rows = model.transform(read_images(spark, str(images))).select("path", "features")
    np.testing.assert_allclose(
        chances(alone.transform(rows)), classifier.probabilities(features), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("transform", ["none", "sqrt-l2"])
def test_a_bad_image_has_no_prediction(
    spark: SparkSession, graph: CompiledGraph, images: Path, tmp_path: Path, transform: str
) -> None:
    labels, features = features_of(graph, images)
    classifier = classifier_of(labels, features, transform)
    model = model_of(tmp_path / "model", graph, labels, features, classifier)
    (images / "Fig" / "0_100.jpg").write_text("no picture")

    rows = model.transform(read_images(spark, str(images))).orderBy("path").collect()

    (bad,) = [row for row in rows if row.error is not None]
    computed = ["features", "scaled", "pca", *PREDICTED]
    computed += ["mapped", "normalized"] * (transform == "sqrt-l2")
    assert bad.path.endswith("Fig/0_100.jpg")
    assert [bad[name] for name in computed] == [None] * len(computed)
    good = [row for row in rows if row.error is None]
    assert all(row[name] is not None for row in good for name in computed)


def test_two_labels_have_two_probabilities(spark: SparkSession, tmp_path: Path) -> None:
    """Spark's own binary models have one row of coefficients instead."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 5)).astype(np.float32)
    classifier = Discriminant.of(Moments.of(features, ["a", "b", "b"] * 10)).classifier(0.1)
    vectors = spark.createDataFrame(
        [(n, Vectors.dense(row)) for n, row in enumerate(features)], ["path", "features"]
    )
    model = written_and_loaded(classifier_stages(classifier), tmp_path / "model")
    np.testing.assert_allclose(
        chances(model.transform(vectors)), classifier.probabilities(features), rtol=0, atol=1e-9
    )
