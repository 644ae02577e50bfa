"""Converts a fitted scaler, PCA and classifier to the stages of a saved Spark ML pipeline."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.feature import (
    IndexToString,
    MinMaxScalerModel,
    PCAModel,
    StandardScalerModel,
    StringIndexerModel,
)
from pyspark.ml.linalg import DenseMatrix
from pyspark.ml.wrapper import JavaTransformer
from pyspark.sql.types import ArrayType, BooleanType, IntegerType, StringType

from fruits.classify.model import Classifier
from fruits.features.moments import Moments
from fruits.networks.graph import CompiledGraph
from fruits.reduction.fit import Reduction, check_scaler, deviation
from fruits.sources.naming import Naming
from fruits.spark.ml_stages import (
    TRANSFORM_STAGES,
    ImageFeaturizer,
    InvalidToNull,
    PathToLabel,
)
from fruits.spark.saved_stage import SavedStage, matrix, own_stage, spark_stage, vectors


def pipeline_stages(
    labels: pa.Table,
    graph: CompiledGraph,
    reduction: Reduction,
    classifier: Classifier | None = None,
    naming: Naming | None = None,
) -> list[SavedStage]:
    """The pipeline for new images, from contents (and optional paths) to components.

    A classifier adds `rawPrediction`, `probability` (calibrated, in the order of the classifier's
    labels), `prediction` (an index of these labels) and `predictedLabel`. No row is dropped: for an
    image without features, ``error`` has the reason and all computed columns are null.

    Args:
        labels: The number of images with each label: columns ``label`` and ``images``, without or
            with a row for images without a label. The most frequent label has index 0; equally
            frequent labels are in alphabetical order, as in Spark ML's ``StringIndexer``.
        graph: The backbone.
        reduction: The fitted scaler and PCA.
        classifier: The classifier of the features.
        naming: The rules that give the label of a path; by default `Naming()`.
    """
    order = labels.filter(pc.is_valid(labels["label"]))
    order = order.sort_by([("images", "descending"), ("label", "ascending")])
    index = spark_stage(
        StringIndexerModel,
        {"labelsArray": (ArrayType(ArrayType(StringType())), True, [order["label"]])},
        inputCol="label",
        outputCol="labelIndex",
        handleInvalid="keep",
    )
    featurizer = own_stage(ImageFeaturizer(handleInvalid="nan"), graph)
    classified = classifier_stages(classifier) if classifier else []
    stages = [featurizer, *reduction_stages(reduction), *classified]
    computed = [name for stage in stages for name in stage.outputs]
    rules = naming or Naming()
    paths = PathToLabel(rule=rules.label, split=rules.split)
    invalid = InvalidToNull(inputCols=computed)
    return [own_stage(paths), index, *stages, own_stage(invalid)]


def classifier_stages(classifier: Classifier) -> list[SavedStage]:
    """The stages, in order, from vectors of `features` to predictions.

    They add `rawPrediction`, `probability`, `prediction` and `predictedLabel`; `mapped` if the
    transform of the classifier is "sqrt" or "sqrt-l2"; and `normalized` if it is "sqrt-l2".
    Probabilities equal `Classifier.probabilities` up to rounding, since the coefficients include
    the temperature. The model does not mark unknown images.

    Args:
        classifier: A fitted classifier with at least two labels.
    """
    stages = _transform_stages(classifier.transform)
    transformed = stages[-1].outputs[-1] if stages else "features"
    names = spark_stage(
        IndexToString,
        inputCol="prediction",
        outputCol="predictedLabel",
        labels=list(classifier.labels),
    )
    return [*stages, _logistic_regression(classifier, transformed), names]


def _transform_stages(transform: str) -> list[SavedStage]:
    """The stages of `fruits.spark.ml_stages.transform_stages`, which need Java."""
    return [
        spark_stage(kind, **params)
        if issubclass(kind, JavaTransformer)
        else own_stage(kind(**params))
        for kind, params in TRANSFORM_STAGES[transform]
    ]


def _logistic_regression(classifier: Classifier, input_col: str) -> SavedStage:
    coefficients = classifier.coefficients / classifier.temperature
    labels, features = coefficients.shape
    by_label = DenseMatrix(labels, features, np.ravel(coefficients), isTransposed=True)
    return spark_stage(
        LogisticRegressionModel,
        {
            "numClasses": (IntegerType(), False, labels),
            "numFeatures": (IntegerType(), False, features),
            **vectors(interceptVector=classifier.intercept / classifier.temperature),
            **matrix(coefficientMatrix=by_label),
            "isMultinomial": (BooleanType(), False, True),
        },
        featuresCol=input_col,
        family="multinomial",
    )


def reduction_stages(reduction: Reduction) -> list[SavedStage]:
    """The scaler and the PCA, in order, from `features` to `scaled` and `pca`."""
    scaler = scaler_stage(reduction.moments, reduction.scaler)
    features, kept = reduction.axes.shape
    axes = DenseMatrix(features, kept, reduction.axes.ravel(order="F"))
    pca = spark_stage(
        PCAModel,
        matrix(pc=axes) | vectors(explainedVariance=reduction.explained_variance[:kept]),
        k=kept,
        inputCol="scaled" if scaler else "features",
        outputCol="pca",
    )
    return [scaler, pca] if scaler else [pca]


def scaler_stage(moments: Moments, kind: str) -> SavedStage | None:
    """The model that Spark's scaler would learn from `features`, to `scaled`; None for "none".

    "minmax" scales each feature to [0, 1], and a constant one to 0.5. "standard" scales each
    feature to a mean of 0 and a sample standard deviation of 1, and a constant one to 0.

    Raises:
        ConfigError: `kind` is unknown.
    """
    check_scaler(kind)
    columns = {"inputCol": "features", "outputCol": "scaled"}
    if kind == "minmax":
        learned = vectors(originalMin=moments.minimum, originalMax=moments.maximum)
        return spark_stage(MinMaxScalerModel, learned, **columns)
    if kind == "standard":
        learned = vectors(std=deviation(moments), mean=moments.mean)
        return spark_stage(StandardScalerModel, learned, **columns, withMean=True, withStd=True)
    return None
