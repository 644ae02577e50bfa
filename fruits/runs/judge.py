"""What the classifier of a run says against its images: improbable labels, and outliers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from fruits.classify.model import Predictions
from fruits.classify.train import HeldOut
from fruits.quality.findings import Finding
from fruits.quality.labels import Answers, confidence_needed, label_suspects
from fruits.quality.outliers import outliers
from fruits.runs.classify import Classified
from fruits.runs.work import Work


def judged(
    work: Work, classified: Classified, images: pa.Table, skipped: dict[str, str]
) -> list[Finding]:
    """Label suspects and outliers, each with the most serious first.

    Args:
        work: the run, whose predictions are staged.
        classified: its classifier.
        images: of the run: path, label and split.
        skipped: gets what was not looked for, by kind.
    """
    return [
        *_suspects(work, classified, images, skipped),
        *_outliers(work, classified, images),
    ]


def _suspects(
    work: Work, classified: Classified, images: pa.Table, skipped: dict[str, str]
) -> list[Finding]:
    names = classified.classifier.labels
    parts = []
    if held_out := classified.held_out:
        parts.append(_of_held_out(held_out, images))
        if len(held_out.paths) < classified.about["training_images"]:
            skipped["label suspect"] = (
                f"{classified.about['training_images'] - len(held_out.paths):,} training images "
                "were not predicted by a classifier that does not know them"
            )
    parts.append(_of_predictions(work, classified))
    needed = confidence_needed(parts[0], names)
    found = [one for part in parts for one in label_suspects(part, names, needed)]
    return sorted(found, key=lambda one: -one.score)


def _of_held_out(held_out: HeldOut, images: pa.Table) -> Answers:
    said: Predictions = held_out.predictions
    places = pc.index_in(pa.array(held_out.paths, pa.string()), images["path"])
    splits = images["split"].take(places).to_pylist()
    return Answers(
        held_out.paths, held_out.labels, splits, said.top, said.top_probability, said.likelihood
    )


def _of_predictions(work: Work, classified: Classified) -> Answers:
    """What was said of the images that nothing was fitted to."""
    place = work.staged.root / "predictions"
    table = pads.dataset(place.path, filesystem=place.filesystem, format="parquet")
    wanted = pc.field("label").is_valid()
    if work.basis is None:
        wanted = wanted & pc.field("split").isin(["test", "validation"])
    rows = table.to_table(columns=["path", "label", "split", "top5"], filter=wanted)
    return _answers(rows, classified)


def _answers(rows: pa.Table, classified: Classified) -> Answers:
    names = classified.classifier.labels
    top5 = rows["top5"].combine_chunks()
    flat = top5.flatten()
    ranks = len(flat) // len(top5) if len(top5) else 1
    places = pc.index_in(flat.field("label"), pa.array(names, pa.string()))
    top = places.to_numpy(zero_copy_only=False).astype(np.int64).reshape(len(top5), ranks)
    probability = flat.field("probability").to_numpy().reshape(len(top5), ranks)
    labels = rows["label"].to_pylist()
    own = classified.classifier.places(labels)
    likelihood = np.where(top == own[:, np.newaxis], probability, 0.0).sum(axis=1)
    # Of a label that is not among the five, at most what the last of them has.
    among = (top == own[:, np.newaxis]).any(axis=1)
    likelihood = np.where(among, likelihood, probability[:, -1])
    likelihood[own < 0] = np.nan
    columns = rows["path"].to_pylist(), labels, rows["split"].to_pylist()
    return Answers(*columns, top, probability, likelihood)


def _outliers(work: Work, classified: Classified, images: pa.Table) -> list[Finding]:
    """Images that are far from all labels, each by a classifier that was not fitted to it.

    Of training images, those distances count that were found when they were left out: a covariance
    that was fitted to an outlier makes it look near.
    """
    threshold = classified.classifier.threshold
    place = work.staged.root / "predictions"
    table = pads.dataset(place.path, filesystem=place.filesystem, format="parquet")
    columns = ["path", "label", "split", "distance"]
    rows = table.to_table(columns=columns, filter=pc.field("unknown"))
    if held_out := classified.held_out:
        paths = pa.array(held_out.paths, pa.string())
        far = pa.array(held_out.predictions.distance > threshold)
        own = images.select(columns[:3]).take(pc.index_in(paths.filter(far), images["path"]))
        distances = pa.array(held_out.predictions.distance).filter(far)
        rows = rows.filter(pc.invert(pc.is_in(rows["path"], paths)))
        rows = pa.concat_tables([rows, own.append_column("distance", distances)])
    paths_of, labels, splits = (rows[name].to_pylist() for name in columns[:3])
    return outliers(paths_of, labels, splits, rows["distance"].to_numpy(), threshold)
