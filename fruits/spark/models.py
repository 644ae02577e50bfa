"""A fitted scaler, PCA and classifier as genuine Spark ML models, and the pipeline of them."""

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
from fruits.spark.ml_stages import ImageFeaturizer, InvalidToNull, PathToLabel, SignedSqrt

ScalerModel = MinMaxScalerModel | StandardScalerModel
AnyModel = TypeVar("AnyModel", bound=JavaModel)


def pipeline_model(
    labels: Mapping[str, int],
    graph: CompiledGraph,
    reduction: Reduction,
    classifier: Classifier | None = None,
    label: str = "parent",
) -> PipelineModel:
    """The whole chain for new images: content in, and path where there is one; components out.

    With a classifier, `rawPrediction`, `probability` (calibrated, in the order of the classifier's
    labels), `prediction` (a place among them) and `predictedLabel` follow. Every row comes back: an
    image that yields no features has the reason in ``error`` and null in all that is computed.

    Args:
        labels: how many images have each label; the most frequent one has index 0, and those that
            are equally frequent are in alphabetical order, as Spark ML's ``StringIndexer`` has
            them.
        graph: the backbone.
        reduction: the fitted scaler and PCA.
        classifier: of the features.
        label: the rule by which a path gives the label, see `PathToLabel`.
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
    """The stages, in order, that take vectors of features to predictions.

    They add `rawPrediction`, `probability`, `prediction` and `predictedLabel`; and `mapped`, where
    the classifier has the transform "sqrt". Probabilities are `Classifier.probabilities`: the
    temperature is part of the coefficients. The model does not say what is unknown.

    Args:
        classifier: fitted, of two labels at least.
        input_col: column of features as the network made them.
    """
    names = IndexToString(
        inputCol="prediction", outputCol="predictedLabel", labels=list(classifier.labels)
    )
    if classifier.transform == "none":
        return [_logistic_regression(classifier, input_col), names]
    root = SignedSqrt(inputCol=input_col)
    return [root, _logistic_regression(classifier, root.getOutputCol()), names]


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
    """The models, in order, that take vectors in `input_col` to `scaled_col` and `output_col`."""
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
    """Build the model that Spark's own scaler learns from these rows, or None for "none".

    "minmax" takes each feature to [0, 1], a constant one to 0.5; "standard" to a mean of 0 and a
    sample standard deviation of 1, a constant one to 0.

    Raises:
        ConfigError: `kind` is neither of them.
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
    """Make the model that `estimator.fit` would return, had it learned `learned`.

    Spark has no public constructor for its models. This is what `JavaEstimator.fit` does with the
    Java object that its Scala half makes.
    """
    java = JavaParams._new_java_obj(f"org.apache.spark.ml.{model_class}", estimator.uid, *learned)
    model = estimator._copyValues(estimator._create_model(java))
    model._transfer_params_to_java()
    return model
