"""The third step of a run: a classifier of the features, and how good it is on groups unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.classify.choose import Fold
from fruits.classify.evaluate import Evaluation
from fruits.classify.fit import Measured
from fruits.classify.groups import Groups, assign_folds, group_images
from fruits.classify.in_memory import folds_in_memory
from fruits.classify.model import TRANSFORMS, Array, Classifier
from fruits.classify.train import HeldOut, Training, train, train_softmax
from fruits.features.rows import matrix
from fruits.features.table import open_features
from fruits.runs.extract import Extracted
from fruits.runs.reduce import Reduced
from fruits.runs.work import Work
from fruits.spark.folds import SCORED, cross_validation
from fruits.spark.measure import read_table
from fruits.spark.softmax import SoftmaxRegression
from fruits.storage.files import delete_folder


@dataclass(frozen=True)
class Classified:
    """What images are recognised by.

    Attributes:
        classifier: of the features.
        most_frequent: the label of most training images.
        means: (c, d) float64, of the features of each label after the transform; None where the
            classifier is that of a finished run.
        evaluation: of the training images by cross-validation; None where there was none.
        held_out: what the evaluation is of, image by image; None where there was none.
        about: how the classifier was chosen, for run.json.
    """

    classifier: Classifier
    most_frequent: str
    means: Array | None
    evaluation: Evaluation | None
    held_out: HeldOut | None
    about: dict[str, Any]


def train_classifier(work: Work, extracted: Extracted, reduced: Reduced) -> Classified | str:
    """Trains a classifier on the training images, or takes that of the run whose model is used.

    Returns:
        What was trained, or the reason why there is no classifier.
    """
    if work.basis is not None:
        kept = work.basis.classifier
        if kept is None:
            return f"the model of {work.config.model} has no classifier"
        return Classified(kept.classifier, kept.most_frequent, None, None, None, kept.about)
    if work.config.classifier == "none":
        return "the option classifier is none"
    images = extracted.of_side(reduced.side)
    images = images.filter(pc.is_valid(images["label"]))
    labels = pc.unique(images["label"]).to_pylist()
    if len(labels) < 2:
        found = f"{labels[0]!r} only" if labels else "none"
        return f"wanted two labels at least among the training images; found {found}"
    with work.stages("classify"):
        return _train(work, images)


def _train(work: Work, images: pa.Table) -> Classified:
    images = images.sort_by("path")
    paths, labels = images["path"].to_pylist(), images["label"].to_pylist()
    named = images["group"].to_pylist() if "group" in images.column_names else None
    groups = group_images(paths, labels, work.config.naming, named)
    folds = images.select(["path", "label"]).append_column(
        "fold", pa.array(assign_folds(groups.names, labels))
    )
    chosen = work.config.transform
    transforms = TRANSFORMS if chosen == "auto" else (chosen,)
    place = work.staged.uri("folds")
    moments, parts = _folds(work, folds, place, transforms)
    if work.config.classifier == "softmax":
        fit = SoftmaxRegression(read_table(work.spark, work.store), folds)
        training = train_softmax(moments, parts, fit)
    else:
        training = train(moments, parts)
    delete_folder(place)
    return Classified(
        training.classifier,
        training.most_frequent,
        _means(moments[training.classifier.transform]),
        training.evaluation,
        training.held_out,
        _about(work, training, groups, moments),
    )


def _folds(
    work: Work, folds: pa.Table, place: str, transforms: Sequence[str]
) -> tuple[Mapping[str, Measured], Sequence[Fold]]:
    """The moments of the training images and their folds; of few images, without Spark's jobs."""
    if folds.num_rows > SCORED:
        return cross_validation(work.spark, work.store, folds, place, transforms)
    rows = open_features(work.config.output).to_table(
        columns=["path", "features"], filter=pc.field("path").isin(folds["path"])
    )
    rows = rows.sort_by("path").combine_chunks()
    if rows["path"] != folds["path"]:
        raise ValueError(f"wanted features of all {folds.num_rows:,} training images, once each")
    return folds_in_memory(
        matrix(rows["features"].combine_chunks()),
        folds["label"].to_pylist(),
        folds["path"].to_pylist(),
        folds["fold"].to_numpy(),
        transforms,
    )


def _means(moments: Measured) -> Array:
    """(c, d) the means of the labels, in their order."""
    sums = [sums for label, sums in moments.labels.items() if label is not None]
    return np.stack([one.total.to_float() / one.count for one in sums])


def _about(
    work: Work, training: Training, groups: Groups, moments: Mapping[str, Measured]
) -> dict[str, Any]:
    """How the classifier was chosen, for run.json."""
    classifier = training.classifier
    return {
        "kind": classifier.kind,
        "labels": len(classifier.labels),
        "training_images": moments[classifier.transform].count,
        "transform": classifier.transform,
        "shrinkage": classifier.shrinkage,
        "temperature": classifier.temperature,
        # JSON has no infinity.
        "unknown_above": classifier.threshold if np.isfinite(classifier.threshold) else None,
        "groups": groups.describe(),
        "trials": [
            {"transform": one.transform, "shrinkage": one.shrinkage, "accuracy": one.accuracy}
            for one in training.trials
        ],
    }
