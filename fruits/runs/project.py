"""The fourth step of a run: the components and the predictions of all images, and their scores."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fruits.classify.evaluate import Evaluation
from fruits.classify.rows import Prediction, evaluate_scores
from fruits.features.table import FeatureTable
from fruits.runs.classify import Classified
from fruits.runs.extract import Extracted
from fruits.runs.outputs import Outputs
from fruits.runs.reduce import TRAIN, Reduced
from fruits.runs.work import Work
from fruits.spark.measure import read_table
from fruits.spark.project import project
from fruits.spark.tasks import described

HELD_OUT = frozenset(["test", "validation"])
"""The sides of the split that nothing is fitted to."""


def project_features(
    work: Work, extracted: Extracted, reduced: Reduced, classified: Classified | None
) -> list[Evaluation]:
    """Stages the tables ``pca`` and ``predictions``, and the CSV file.

    Returns:
        Evaluations of the predictions by the labels that images have: of each side of the split
        that nothing was fitted to; with the model of a finished run, of all images.
    """
    with work.stages("project"):
        prediction = None
        if classified:
            scored = None if work.basis else HELD_OUT if reduced.side else frozenset[str]()
            prediction = Prediction(classified.classifier, classified.means, scored)
        rows, scores = project(
            *(work.spark, work.store, reduced.reduction, str(work.staged.root)),
            listing=work.chosen,
            prediction=prediction,
        )
        extracted.require_rows(rows, None)
        if work.config.csv:
            work.staged.write_csv("pca", "pca.csv")
    if not classified or not scores.num_rows:
        return []
    with work.stages("evaluate"):
        identical = _identical(work)
        return evaluate_scores(
            scores, classified.classifier.labels, classified.most_frequent, identical
        )


def _identical(work: Work) -> dict[str | None, int] | None:
    """Of each side, how many images are training images byte for byte; None if not known."""
    training = work.store if work.basis is None else _features_of(work)
    if training is None:
        return None
    with described(work.spark, "evaluate: images that training has, too"):
        tested = _counted(work, read_table(work.spark, work.store))
        trained = read_table(work.spark, training)
        if work.basis is None:
            trained, tested = tested, tested.where(F.col("split").isin(*HELD_OUT))
        known = _training_rows(trained).select("sha256").distinct()
        counts = tested.join(known, "sha256", "left_semi").groupBy("split").count().collect()
    return {row["split"]: row["count"] for row in counts}


def _counted(work: Work, rows: DataFrame) -> DataFrame:
    """The rows that count, where ``limit`` leaves some out."""
    if work.chosen is None:
        return rows
    return rows.join(work.spark.createDataFrame(work.chosen.select(["path"])), "path", "left_semi")


def _training_rows(rows: DataFrame) -> DataFrame:
    """The rows of the training side, or all where there is none."""
    training = rows.where(F.col("split") == TRAIN)
    return rows if training.isEmpty() else training


def _features_of(work: Work) -> FeatureTable | None:
    """The features of the run whose model is used, where they are still there."""
    table = FeatureTable(Outputs.of(str(work.config.model)).uri("features"))
    return table if any(chunk.files for chunk in table.chunks()) else None
