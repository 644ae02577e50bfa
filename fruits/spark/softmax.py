"""Softmax regression by Spark ML, the alternative to the discriminant analysis.

It iterates over all features, for each fold and for all images, while the discriminant analysis
only needs their moments. Its last bits depend on how the features are divided into tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import DCT
from pyspark.ml.functions import array_to_vector
from pyspark.ml.stat import Summarizer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fruits.classify.groups import TRAIN_ONLY
from fruits.classify.model import Array
from fruits.spark.ml_stages import transform_stages
from fruits.spark.workers import described

REG_PARAM = 0.03
"""The weight of the penalty relative to the mean log loss; see :attr:`SoftmaxRegression.reg_param`.

From 0.001 to 0.1, the accuracy on held-out films hardly depends on it (docs/classifier.md). A
penalty of standardized features, Spark's default, is worse by one to four points, since it gives
weight to features that hardly vary.
"""

MAX_ITER = 200
"""Maximum steps of L-BFGS; the features of EfficientNetLite0 need about a hundred."""

TOLERANCE = 1e-6
"""The iteration ends when the relative improvement of the loss is smaller."""


@dataclass(frozen=True)
class SoftmaxRegression:
    """Fits a softmax regression to training images, or to those outside of one fold.

    :func:`fruits.classify.train.train` calls an instance.

    Attributes:
        features: A table with the columns ``path`` and ``features`` (array<float>). Rows that are
            not in `folds` are left out.
        folds: The training images: ``path`` and ``label``, strings, and ``fold``, int64, as for
            :func:`fruits.tasks.cross_validation.cross_validation`.
        reg_param: The weight of the squared coefficients for features with a mean variance of 1,
            so that it has the same effect for every network.
        steps: The number of steps of each fit so far.
    """

    features: DataFrame
    folds: pa.Table
    reg_param: float = REG_PARAM
    steps: list[int] = field(default_factory=list)

    @property
    def unconverged(self) -> int:
        """The number of fits that ended at the maximum of steps."""
        return sum(steps >= MAX_ITER for steps in self.steps)

    def __call__(
        self, without: int | None, labels: Sequence[str], transform: str = "none"
    ) -> tuple[Array, Array]:
        """Fits to the images outside of one fold.

        Args:
            without: The index of the fold among the tested folds, in ascending order; None to fit
                to all images.
            labels: The c labels of these images.
            transform: One of `fruits.classify.transforms.TRANSFORMS`.

        Returns:
            The coefficients, float64 of shape (c, d), and the intercepts, (c,).

        Raises:
            ValueError: The label of an image is not in `labels`.
        """
        rows = _mixed(self._rows(without, labels, transform))
        part = "all images" if without is None else f"without fold {without + 1}"
        with described(rows.sparkSession, f"classifier: softmax regression, {part}"):
            model = self._regression(rows).fit(rows)
        self.steps.append(model.summary.totalIterations)
        coefficients = model.coefficientMatrix.toArray()
        cosines = _cosines(coefficients.shape[1])
        return coefficients @ cosines, model.interceptVector.toArray()

    def _regression(self, rows: DataFrame) -> LogisticRegression:
        return LogisticRegression(
            featuresCol="features",
            labelCol="place",
            family="multinomial",
            regParam=self.reg_param * _mean_variance(rows),
            standardization=False,
            maxIter=MAX_ITER,
            tol=TOLERANCE,
        )

    def _rows(self, without: int | None, labels: Sequence[str], transform: str) -> DataFrame:
        """The index of the label (``place``, float64) and the ``features`` vector of each image."""
        images = self._left(without)
        places = pc.index_in(images["label"].cast(pa.string()), pa.array(labels, pa.string()))
        if places.null_count:
            raise ValueError("wanted the labels of all images that are left")
        table = pa.table({"path": images["path"], "place": places.cast(pa.float64())})
        left = self.features.sparkSession.createDataFrame(table)
        rows = self.features.select("path", array_to_vector(F.col("features")).alias("features"))
        stages = transform_stages(transform)
        for stage in stages:
            rows = stage.transform(rows)
        transformed = stages[-1].getOutputCol() if stages else "features"
        return rows.join(left, "path").select("place", F.col(transformed).alias("features"))

    def _left(self, without: int | None) -> pa.Table:
        """The images outside of a fold."""
        if without is None:
            return self.folds
        tested = sorted(set(pc.unique(self.folds["fold"]).to_pylist()) - {TRAIN_ONLY})
        return self.folds.filter(pc.not_equal(self.folds["fold"], tested[without]))


def _mixed(rows: DataFrame) -> DataFrame:
    """The rows with the discrete cosine transform of their features.

    Spark's optimizer always divides features by their standard deviations. If these differ much, a
    penalty of the features as they are makes it converge slowly. The transform is orthonormal, so
    penalty, optimum and mean variance are the same; but each new feature is a mixture of all, and
    their variances are similar.
    """
    mixed = DCT(inputCol="features", outputCol="mixed").transform(rows)
    return mixed.select("place", F.col("mixed").alias("features"))


def _cosines(width: int) -> Array:
    """(d, d) float64: the orthonormal matrix of Spark's discrete cosine transform (DCT-II)."""
    numbers = np.arange(width)
    cosines: Array = np.cos(np.pi / width * np.outer(numbers, numbers + 0.5)) * np.sqrt(2 / width)
    cosines[0] /= np.sqrt(2)
    return cosines


def _mean_variance(rows: DataFrame) -> float:
    """The mean over the features of their variances."""
    variances = rows.select(Summarizer.variance(F.col("features"))).first()
    return float(variances[0].toArray().mean()) if variances else 0.0
