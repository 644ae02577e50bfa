"""Softmax regression by Spark ML, the alternative to the discriminant analysis.

It iterates over all features, for each fold and for all images, while the discriminant analysis
only needs their moments. Its last bits depend on how the features are divided into tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.ml.classification import LogisticRegression
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

Chosen by grouped cross-validation on 1,260 photographs of 12 varieties (EfficientNetLite0): from
0.005 to 0.05 the accuracy is 0.78, at most 0.79 with less, and the log loss falls from 0.88 to
0.77. A penalty of standardized features, Spark's default, reaches 0.73 at best, since it gives
weight to features that hardly vary.
"""

MAX_ITER = 200
"""Maximum steps of L-BFGS. The features of EfficientNetLite0 need all: 13 s for 1,000 images."""

TOLERANCE = 1e-6
"""The iteration ends when the relative improvement of the loss is smaller."""


@dataclass(frozen=True)
class SoftmaxRegression:
    """Fits a softmax regression to training images, or to those outside of one fold.

    :func:`fruits.classify.train.train_softmax` calls an instance.

    Attributes:
        features: A table with the columns ``path`` and ``features`` (array<float>). Rows that are
            not in `folds` are left out.
        folds: The training images: ``path`` and ``label``, strings, and ``fold``, int64, as for
            :func:`fruits.tasks.folds.cross_validation`.
        reg_param: The weight of the squared coefficients for features with a mean variance of 1,
            so that it has the same effect for every network.
    """

    features: DataFrame
    folds: pa.Table
    reg_param: float = REG_PARAM

    def __call__(
        self, without: int | None, labels: Sequence[str], transform: str = "none"
    ) -> tuple[Array, Array]:
        """Fits to the images outside of one fold.

        Args:
            without: The index of the fold among the tested folds, in ascending order; None to fit
                to all images.
            labels: The c labels of these images.
            transform: One of `fruits.classify.model.TRANSFORMS`.

        Returns:
            The coefficients, float64 of shape (c, d), and the intercepts, (c,).

        Raises:
            ValueError: The label of an image is not in `labels`.
        """
        rows = self._rows(without, labels, transform)
        part = "all images" if without is None else f"without fold {without + 1}"
        with described(rows.sparkSession, f"classifier: softmax regression, {part}"):
            model = self._regression(rows).fit(rows)
        return model.coefficientMatrix.toArray(), model.interceptVector.toArray()

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


def _mean_variance(rows: DataFrame) -> float:
    """The mean over the features of their variances."""
    variances = rows.select(Summarizer.variance(F.col("features"))).first()
    return float(variances[0].toArray().mean()) if variances else 0.0
