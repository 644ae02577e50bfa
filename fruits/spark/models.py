"""A fitted scaler and PCA as genuine Spark ML models."""

from __future__ import annotations

from typing import Any, TypeVar

from pyspark.ml.feature import (
    PCA,
    MinMaxScaler,
    MinMaxScalerModel,
    PCAModel,
    StandardScaler,
    StandardScalerModel,
)
from pyspark.ml.linalg import DenseMatrix, Vectors
from pyspark.ml.wrapper import JavaEstimator, JavaModel, JavaParams

from fruits.features.moments import Moments
from fruits.reduction.fit import Reduction, check_scaler, deviation

ScalerModel = MinMaxScalerModel | StandardScalerModel
AnyModel = TypeVar("AnyModel", bound=JavaModel)


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
        "PCAModel",
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
            "MinMaxScalerModel",
            Vectors.dense(moments.minimum),
            Vectors.dense(moments.maximum),
        )
    if kind == "standard":
        return _fitted(
            StandardScaler(withMean=True, withStd=True, inputCol=input_col, outputCol=output_col),
            "StandardScalerModel",
            Vectors.dense(deviation(moments)),
            Vectors.dense(moments.mean),
        )
    return None


def _fitted(estimator: JavaEstimator[AnyModel], model_class: str, *learned: Any) -> AnyModel:
    """Make the model that `estimator.fit` would return, had it learned `learned`.

    Spark has no public constructor for its models. This is what `JavaEstimator.fit` does with the
    Java object that its Scala half makes.
    """
    java = JavaParams._new_java_obj(
        f"org.apache.spark.ml.feature.{model_class}", estimator.uid, *learned
    )
    model = estimator._copyValues(estimator._create_model(java))
    model._transfer_params_to_java()
    return model
