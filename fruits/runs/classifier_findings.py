"""Findings of the classifier of a run about its images: improbable labels, and outliers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.classify.model import Predictions
from fruits.classify.train import HeldOut
from fruits.features.rows import scan
from fruits.quality.findings import MOST_LISTED, Finding
from fruits.quality.labels import Answers, confidence_needed, label_suspects, least_probable
from fruits.quality.outliers import outliers
from fruits.runs.classify import Classified
from fruits.runs.context import RunContext
from fruits.sources.naming import TEST_SPLITS
from fruits.wording import are, counted

_FAR = pa.schema(
    [*((name, pa.string()) for name in ("path", "label", "split")), ("distance", pa.float64())]
)


def classifier_findings(
    context: RunContext,
    classified: Classified,
    images: pa.Table,
    side: str | None,
    skipped: dict[str, str],
) -> list[Finding]:
    """Finds label suspects and outliers, each with the most serious first.

    Args:
        context: The run, whose predictions are staged.
        classified: The classifier.
        images: The held-out images: path, label and split.
        side: The side of the split to which the run fitted the classifier; None for all images.
            Without effect if the classifier is that of a finished run.
        skipped: Receives the checks that were not made, by kind.
    """
    return [
        *_suspects(context, classified, images, side, skipped),
        *_outliers(context, classified, images, skipped),
    ]


def _suspects(
    context: RunContext,
    classified: Classified,
    images: pa.Table,
    side: str | None,
    skipped: dict[str, str],
) -> list[Finding]:
    names = classified.classifier.labels
    others = partial(_of_predictions, context, classified, side)
    reasons, held_out = [], classified.held_out
    left_out = [_of_held_out(held_out, images)] if held_out else []
    if context.basis is None:
        tested = len(held_out.paths) if held_out else 0
        if fitted := classified.about["training_images"] - tested:
            reasons.append(
                f"{counted(fitted, 'training image')} had no prediction by a classifier that was "
                "trained on other images only"
            )
    needed = confidence_needed(left_out or others(), names)
    answers, more = least_probable(others(), names, needed, MOST_LISTED)
    if more:
        reasons.append(
            f"{counted(more, 'image')} with a more probable label {are(more)} not listed"
        )
    if reasons:
        skipped["label suspect"] = "; ".join(reasons)
    # The model of another run may have been trained on some of the images.
    by = {"by": "the model"} if context.basis else {}
    found = [
        one for part in (*left_out, answers) for one in label_suspects(part, names, needed, **by)
    ]
    return sorted(found, key=lambda one: -one.score)


def _of_held_out(held_out: HeldOut, images: pa.Table) -> Answers:
    found: Predictions = held_out.predictions
    rows = pc.index_in(pa.array(held_out.paths, pa.string()), images["path"])
    splits = images["split"].take(rows).to_pylist()
    return Answers(
        held_out.paths, held_out.labels, splits, found.top, found.top_probability, found.likelihood
    )


def _of_predictions(
    context: RunContext, classified: Classified, side: str | None
) -> Iterator[Answers]:
    """The predictions of images that the classifier was not fitted to, in batches."""
    wanted = pc.field("label").is_valid()
    if context.basis is None:
        if side is None:
            return
        wanted = wanted & pc.field("split").isin(TEST_SPLITS)
    for rows in _predictions(context, ["path", "label", "split", "top5"], wanted):
        yield _answers(rows, classified)


def _predictions(
    context: RunContext, columns: list[str], wanted: pc.Expression
) -> Iterator[pa.RecordBatch]:
    """Some columns and rows of the staged predictions, in batches."""
    table = context.staged.dataset("predictions")
    return (batch for batch in scan(table, columns, wanted) if batch.num_rows)


def _answers(rows: pa.RecordBatch, classified: Classified) -> Answers:
    names = classified.classifier.labels
    top5 = rows["top5"]
    flat = top5.flatten()
    ranks = len(flat) // len(top5) if len(top5) else 1
    places = pc.index_in(flat.field("label"), pa.array(names, pa.string()))
    top = places.to_numpy(zero_copy_only=False).astype(np.int64).reshape(len(top5), ranks)
    probability = flat.field("probability").to_numpy().reshape(len(top5), ranks)
    labels = rows["label"].to_pylist()
    own = classified.classifier.label_indices(labels)
    likelihood = np.where(top == own[:, np.newaxis], probability, 0.0).sum(axis=1)
    # A label that is not among the five has at most the probability of the last one.
    among = (top == own[:, np.newaxis]).any(axis=1)
    likelihood = np.where(among, likelihood, probability[:, -1])
    likelihood[own < 0] = np.nan
    columns = rows["path"].to_pylist(), labels, rows["split"].to_pylist()
    return Answers(*columns, top, probability, likelihood, are_limits=True)


def _outliers(
    context: RunContext, classified: Classified, images: pa.Table, skipped: dict[str, str]
) -> list[Finding]:
    """Finds images that are far from all labels, by a classifier that was not fitted to them.

    The distances of training images are those of the cross-validation: an outlier looks near to a
    classifier whose covariance was fitted to it.
    """
    threshold = classified.classifier.threshold
    rows, found = _FAR.empty_table(), 0
    for some in _far(context, classified, images):
        found += some.num_rows
        rows = pa.concat_tables([rows, some])
        if rows.num_rows > MOST_LISTED:
            farthest = np.argsort(-rows["distance"].to_numpy(), kind="stable")[:MOST_LISTED]
            rows = rows.take(np.sort(farthest)).combine_chunks()
    if found > rows.num_rows:
        nearer = found - rows.num_rows
        skipped["outlier"] = f"{counted(nearer, 'nearer image')} {are(nearer)} not listed"
    paths, labels, splits = (rows[name].to_pylist() for name in _FAR.names[:3])
    return outliers(paths, labels, splits, rows["distance"].to_numpy(), threshold)


def _far(context: RunContext, classified: Classified, images: pa.Table) -> Iterator[pa.Table]:
    """Images whose distance is above the threshold: rows of :data:`_FAR`."""
    held_out = classified.held_out
    paths = pa.array(held_out.paths if held_out else [], pa.string())
    for batch in _predictions(context, _FAR.names, pc.field("unknown")):
        others = batch.filter(pc.invert(pc.is_in(batch["path"], paths)))
        yield pa.Table.from_batches([others]).cast(_FAR)
    if held_out:
        far = pa.array(held_out.predictions.distance > classified.classifier.threshold)
        own = images.select(_FAR.names[:3]).take(pc.index_in(paths.filter(far), images["path"]))
        yield own.append_column("distance", pa.array(held_out.predictions.distance).filter(far))
