"""The fourth step of a run: the components and the predictions of all images, and their scores."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fruits.classify.evaluate import Evaluation, count_identical
from fruits.classify.rows import TablePredictor, evaluate_scores
from fruits.errors import OutputError
from fruits.features.table import open_features
from fruits.runs.classify import Classified
from fruits.runs.extract import Extracted
from fruits.runs.reduce import TRAIN, Reduced
from fruits.runs.work import Work
from fruits.spark.project import project

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
            prediction = TablePredictor(classified.classifier, classified.means, scored)
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
    tested = _digests(work.config.output)
    if work.chosen is not None:
        tested = tested.filter(pc.is_in(tested["path"], work.chosen["path"]))
    trained = tested
    if work.config.model is not None:
        try:
            trained = _digests(work.config.model)
        except OutputError:  # The features of that run are no longer there.
            return None
    training = trained.filter(pc.field("split") == TRAIN)
    known = (training if training.num_rows else trained)["sha256"].to_pylist()
    if work.basis is None:
        tested = tested.filter(pc.field("split").isin(sorted(HELD_OUT)))
    digests: dict[str | None, list[str]] = {}
    for side, digest in zip(tested["split"].to_pylist(), tested["sha256"].to_pylist(), strict=True):
        digests.setdefault(side, []).append(digest)
    return {side: count_identical(known, own) for side, own in digests.items()}


def _digests(output: str) -> pa.Table:
    return open_features(output).to_table(columns=["path", "split", "sha256"])
