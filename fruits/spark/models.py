"""Converts a fitted scaler, PCA and classifier to Spark ML models and a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.feature import (
    PCA,
    IndexToString,
    MinMaxScaler,
    MinMaxScalerModel,
    PCAModel,
    StandardScaler,
    StandardScalerModel,
    StringIndexerModel,
)
from pyspark.ml.linalg import DenseMatrix, Vectors
from pyspark.ml.wrapper import JavaEstimator, JavaModel, JavaParams

from fruits.classify.model import Classifier
from fruits.features.moments import Moments
from fruits.networks.graph import CompiledGraph
from fruits.reduction.fit import Reduction, check_scaler, deviation
from fruits.spark.ml_stages import ImageFeaturizer, InvalidToNull, PathToLabel, transform_stages

ScalerModel = MinMaxScalerModel | StandardScalerModel
AnyModel = TypeVar("AnyModel", bound=JavaModel)


def pipeline_model(
    labels: Mapping[str, int],
    graph: CompiledGraph,
    reduction: Reduction,
    classifier: Classifier | None = None,
    label: str = "parent",
) -> PipelineModel:
    """The pipeline for new images, from contents (and optional paths) to components.

    A classifier adds `rawPrediction`, `probability` (calibrated, in the order of the classifier's
    labels), `prediction` (an index of these labels) and `predictedLabel`. No row is dropped: for an
    image without features, ``error`` has the reason and all computed columns are null.

    Args:
        labels: The number of images with each label. The most frequent label has index 0; equally
            frequent labels are in alphabetical order, as in Spark ML's ``StringIndexer``.
        graph: The backbone.
        reduction: The fitted scaler and PCA.
        classifier: The classifier of the features.
        label: The rule that gives the label of a path, see `PathToLabel`.
    """
    index = StringIndexerModel.from_labels(
        sorted(labels, key=lambda label: (-labels[label], label)),
        inputCol="label",
        outputCol="labelIndex",
        handleInvalid="keep",
    )
    featurizer = ImageFeaturizer(graph=graph, handleInvalid="nan")
    classified = classifier_stages(classifier) if classifier else []
    stages: list[Transformer] = [featurizer, *reduction_stages(reduction), *classified]
    computed = [name for stage in stages for name in _computed(stage)]
    return PipelineModel(
        [PathToLabel(rule=label), index, *stages, InvalidToNull(inputCols=computed)]
    )


def classifier_stages(classifier: Classifier, input_col: str = "features") -> list[Transformer]:
    """The stages, in order, from vectors of features to predictions.

    They add `rawPrediction`, `probability`, `prediction` and `predictedLabel`; `mapped` if the
    transform of the classifier is "sqrt" or "sqrt-l2"; and `normalized` if it is "sqrt-l2".
    Probabilities equal `Classifier.probabilities` up to rounding, since the coefficients include
    the temperature. The model does not mark unknown images.

    Args:
        classifier: A fitted classifier with at least two labels.
        input_col: The column of features, as computed by the network.
    """
    names = IndexToString(
        inputCol="prediction", outputCol="predictedLabel", labels=list(classifier.labels)
    )
    stages = transform_stages(classifier.transform, input_col)
    transformed = stages[-1].getOutputCol() if stages else input_col
    return [*stages, _logistic_regression(classifier, transformed), names]


def _logistic_regression(classifier: Classifier, input_col: str) -> LogisticRegressionModel:
    estimator = LogisticRegression(featuresCol=input_col, family="multinomial")
    coefficients = classifier.coefficients / classifier.temperature
    labels, features = coefficients.shape
    model: LogisticRegressionModel = _fitted(
        estimator,
        "classification.LogisticRegressionModel",
        DenseMatrix(labels, features, np.ravel(coefficients), isTransposed=True),
        Vectors.dense(classifier.intercept / classifier.temperature),
        labels,
        True,
    )
    return model


def _computed(stage: Any) -> list[str]:
    """The columns that a stage adds."""
    if isinstance(stage, LogisticRegressionModel):
        return [stage.getRawPredictionCol(), stage.getProbabilityCol(), stage.getPredictionCol()]
    return [stage.getOutputCol()]


def reduction_stages(
    reduction: Reduction,
    input_col: str = "features",
    scaled_col: str = "scaled",
    output_col: str = "pca",
) -> list[ScalerModel | PCAModel]:
    """The scaler and PCA models, in order, from `input_col` to `scaled_col` and `output_col`."""
    scaler = fit_scaler(reduction.moments, reduction.scaler, input_col, scaled_col)
    features, kept = reduction.axes.shape
    pca = _fitted(
        PCA(k=kept, inputCol=scaled_col if scaler else input_col, outputCol=output_col),
        "feature.PCAModel",
        DenseMatrix(features, kept, reduction.axes.ravel(order="F")),
        Vectors.dense(reduction.explained_variance[:kept]),
    )
    return [scaler, pca] if scaler else [pca]


def fit_scaler(moments: Moments, kind: str, input_col: str, output_col: str) -> ScalerModel | None:
    """The model that Spark's scaler would learn from these rows; None for "none".

    "minmax" scales each feature to [0, 1], and a constant one to 0.5. "standard" scales each
    feature to a mean of 0 and a sample standard deviation of 1, and a constant one to 0.

    Raises:
        ConfigError: `kind` is unknown.
    """
    check_scaler(kind)
    if kind == "minmax":
        return _fitted(
            MinMaxScaler(inputCol=input_col, outputCol=output_col),
            "feature.MinMaxScalerModel",
            Vectors.dense(moments.minimum),
            Vectors.dense(moments.maximum),
        )
    if kind == "standard":
        return _fitted(
            StandardScaler(withMean=True, withStd=True, inputCol=input_col, outputCol=output_col),
            "feature.StandardScalerModel",
            Vectors.dense(deviation(moments)),
            Vectors.dense(moments.mean),
        )
    return None


def _fitted(estimator: JavaEstimator[AnyModel], model_class: str, *learned: Any) -> AnyModel:
    """The model that `estimator.fit` would return with the learned values `learned`.

    Spark has no public constructor for its models. This code does what `JavaEstimator.fit` does
    with the fitted Java object.
    """
    java = JavaParams._new_java_obj(f"org.apache.spark.ml.{model_class}", estimator.uid, *learned)
    model = estimator._copyValues(estimator._create_model(java))
    model._transfer_params_to_java()
    return model
