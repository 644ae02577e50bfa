"""The fourth step of a run: computes components and predictions of all images, evaluates them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from fruits.classify.evaluate import Evaluation
from fruits.classify.rows import SCORES, TablePredictor, evaluate_sides
from fruits.features.digest_keys import digest_keys, is_in
from fruits.features.rows import scan
from fruits.runs.classify import Classified
from fruits.runs.context import RunContext
from fruits.runs.extract import Extracted
from fruits.runs.output_record import CSV
from fruits.runs.reduce import Reduced
from fruits.runs.reused_rows import record_rows, reusable_rows
from fruits.sources.naming import TEST_SPLITS, TRAIN
from fruits.tasks.project import DIGESTS, SCORES_FOLDER, project


def project_features(
    context: RunContext, extracted: Extracted, reduced: Reduced, classified: Classified | None
) -> list[Evaluation]:
    """Stages the tables ``pca`` and ``predictions``, and the CSV file.

    Returns:
        Evaluations of the predictions of labelled images: for each held-out side of the split, or
        for all images if the model of a finished run is used.
    """
    with context.stages("project"):
        prediction = None
        if classified:
            scored = _scored_sides(context, reduced)
            means = classified.baselines.means if classified.baselines else None
            prediction = TablePredictor(classified.classifier, means, scored)
        earlier = reusable_rows(context, extracted, reduced.reduction, prediction)
        rows = project(
            context.workers,
            context.store,
            reduced.reduction,
            context.staged.root,
            listing=context.chosen,
            prediction=prediction,
            earlier=earlier,
        )
        record_rows(context, reduced.reduction, prediction)
        extracted.require_rows(rows, None)
        if context.config.csv:
            context.staged.write_csv("pca", CSV)
    if not classified:
        return []
    scores = context.staged.dataset(SCORES_FOLDER)
    if not scores.count_rows():
        return []
    with context.stages("evaluate"):
        # The rows are ordered by path; the paths are not needed.
        columns = [name for name in SCORES.names if name != "path"]
        return evaluate_sides(
            scan(scores, columns),
            classified.classifier.labels,
            classified.most_frequent,
            _identical(context),
            classified.baselines.counts if classified.baselines else None,
        )


def _scored_sides(context: RunContext, reduced: Reduced) -> frozenset[str] | None:
    """The sides of the split whose predictions are evaluated; None for all images."""
    if context.basis:
        return None
    return frozenset(TEST_SPLITS if reduced.side else ())


def _identical(context: RunContext) -> dict[str | None, int] | None:
    """The number of evaluated images on each side that are training images; None if not known.

    Images count as the same if their files are equal byte for byte. Those without a label are
    neither evaluated nor training images.
    """
    labelled = pc.field("label").is_valid()
    tested = context.staged.dataset(DIGESTS)
    if context.basis:
        if context.trained is None:
            return None
        known = digest_keys(_digests(context.trained.dataset(), labelled))
    else:
        known = digest_keys(_digests(tested, labelled & (pc.field("split") == TRAIN)))
        if not len(known):
            known = digest_keys(_digests(tested, labelled))
    chosen = labelled if context.basis else labelled & pc.field("split").isin(TEST_SPLITS)
    found = Counter[str | None]()
    for batch in scan(tested, ["split", "sha256"], chosen):
        for side in pc.unique(batch["split"]).to_pylist():
            of_side = pc.is_null(batch["split"]) if side is None else pc.equal(batch["split"], side)
            found[side] += int(is_in(known, batch.filter(of_side)["sha256"]).sum())
    return dict(found)


def _digests(rows: pads.Dataset, chosen: pc.Expression) -> Iterator[pa.Array]:
    return (batch["sha256"] for batch in scan(rows, ["sha256"], chosen))
