"""Softmax regression by Spark, compared with scikit-learn with the same penalty."""

import numpy as np
import pyarrow as pa
import pytest
from drawing import drawn, folds_of
from pyspark.sql import SparkSession
from sklearn.linear_model import LogisticRegression

from fruits.classify.groups import TRAIN_ONLY, assign_folds
from fruits.classify.model import softmax
from fruits.classify.train import train
from fruits.classify.transforms import transform_features
from fruits.spark.softmax import SoftmaxRegression

REG_PARAM = 0.05


def regression(
    spark: SparkSession, x: np.ndarray, labels: list[str], folds: np.ndarray
) -> SoftmaxRegression:
    """A regression on images "0", "1", ... and one more image that is not a training image."""
    paths = [str(number) for number in range(len(x))]
    schema = pa.schema([("path", pa.string()), ("features", pa.list_(pa.float32()))])
    columns = {"path": [*paths, "test"], "features": [*x, np.full(x.shape[1], 1e6, np.float32)]}
    features = spark.createDataFrame(pa.table(columns, schema)).repartition(3)
    return SoftmaxRegression(
        features, pa.table({"path": paths, "label": labels, "fold": folds}), REG_PARAM
    )


def reference(x: np.ndarray, labels: list[str], scored: np.ndarray) -> np.ndarray:
    """The probabilities computed by scikit-learn."""
    penalty = REG_PARAM * x.var(axis=0, ddof=1).mean()
    theirs = LogisticRegression(C=1 / (len(x) * penalty), tol=1e-9, max_iter=5000)
    chances: np.ndarray = theirs.fit(x, labels).predict_proba(scored)
    return chances


@pytest.mark.parametrize(
    ("transform", "place"),
    [("none", None), ("none", 1), ("sqrt", None), ("sqrt", 1), ("sqrt-l2", 1)],
)
def test_coefficients_agree_with_scikit_learn(
    spark: SparkSession, transform: str, place: int | None
) -> None:
    x, labels, groups = drawn()
    folds = assign_folds(groups, labels)
    names = sorted(set(labels))

    coefficients, intercept = regression(spark, x, labels, folds)(place, names, transform)

    own = transform_features(x, transform).astype(np.float64)
    left = np.ones(len(x), bool) if place is None else folds != sorted(set(folds))[place]
    expected = reference(own[left], np.array(labels)[left].tolist(), own)
    chances = softmax(own @ coefficients.T + intercept)
    np.testing.assert_allclose(chances, expected, atol=2e-3)


def test_features_of_different_variances_converge(spark: SparkSession) -> None:
    x, labels, _ = drawn()
    x = x * np.geomspace(1, 0.001, x.shape[1], dtype=np.float32)
    fit = regression(spark, x, labels, np.zeros(len(x), np.int64))

    coefficients, intercept = fit(None, sorted(set(labels)))

    chances = softmax(x.astype(np.float64) @ coefficients.T + intercept)
    np.testing.assert_allclose(chances, reference(x, labels, x), atol=2e-3)
    assert len(fit.steps) == 1
    assert fit.steps[0] < 60
    assert fit.unconverged == 0


def test_places_of_folds_are_counted_without_those_that_are_never_tested(
    spark: SparkSession,
) -> None:
    x, labels, _ = drawn()
    folds = np.where(np.arange(len(x)) % 2, TRAIN_ONLY, 7)
    names = sorted(set(labels))
    found = regression(spark, x, labels, folds)(0, names, "none")
    left = folds == TRAIN_ONLY
    alone = regression(spark, x[left], [labels[n] for n in np.flatnonzero(left)], folds[left])
    for ours, theirs in zip(found, alone(None, names, "none"), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_an_image_with_an_unknown_label_is_an_error(spark: SparkSession) -> None:
    x, labels, _ = drawn()
    with pytest.raises(ValueError, match="labels of all images"):
        regression(spark, x, labels, np.zeros(len(x), np.int64))(None, sorted(set(labels))[1:])


def test_it_is_trained_and_evaluated_like_the_discriminant_analysis(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As good as the optimum here, and each step is a Spark job, for each fold.
    monkeypatch.setattr("fruits.spark.softmax.MAX_ITER", 15)
    x, labels, groups = drawn()
    folds = assign_folds(groups, labels)
    moments, parts = folds_of(x, labels, groups, ("none", "sqrt"))

    fit = regression(spark, x, labels, folds)
    training = train(moments, parts, fit)
    lda = train(moments, parts)

    assert fit.steps == [15] * 6
    assert fit.unconverged == 6
    own, theirs = training.classifier, lda.classifier
    assert own.kind == "softmax"
    assert (own.transform, own.threshold) == (theirs.transform, theirs.threshold)
    np.testing.assert_array_equal(own.distances(x), theirs.distances(x))
    evaluation = training.evaluation
    assert evaluation is not None
    right = 0
    for fold in range(5):
        left = folds != fold
        exact = transform_features(x, own.transform).astype(np.float64)
        kept = np.array(labels)[left]
        chances = reference(exact[left], kept.tolist(), exact[~left])
        right += (np.unique(kept)[chances.argmax(axis=1)] == np.array(labels)[~left]).sum()
    assert evaluation.accuracy == pytest.approx(right / len(x), abs=2 / len(x))
    assert evaluation.calibration_error < 0.06
