"""The third step of a run: trains a classifier and evaluates it on held-out groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from fruits.classify.baselines import Baselines
from fruits.classify.choose import Fold
from fruits.classify.evaluate import Evaluation
from fruits.classify.fit import Measured
from fruits.classify.in_memory import folds_in_memory
from fruits.classify.model import Classifier
from fruits.classify.train import HeldOut, Training, train
from fruits.classify.transforms import TRANSFORMS
from fruits.features.rows import matrix
from fruits.folds.assignment import training_folds
from fruits.folds.scored_images import most_scored
from fruits.runs.config import RunConfig
from fruits.runs.context import RunContext
from fruits.runs.extract import Extracted
from fruits.runs.reduce import Reduced
from fruits.sources.parts import Parts
from fruits.storage.files import delete_folder
from fruits.storage.location import Location
from fruits.tasks.cross_validation import cross_validation


@dataclass(frozen=True)
class Classified:
    """The classifier of a run and its evaluation.

    Attributes:
        classifier: The classifier of the features.
        most_frequent: The most frequent label of the training images.
        baselines: What the baselines of evaluations need; None if the classifier is that of a run
            of an earlier version, which has not saved it.
        evaluation: The evaluation by cross-validation; None if there was none.
        held_out: The predictions of held-out images; None if there was no cross-validation.
        about: How the classifier was chosen, for run.json.
    """

    classifier: Classifier
    most_frequent: str
    baselines: Baselines | None
    evaluation: Evaluation | None
    held_out: HeldOut | None
    about: dict[str, Any]


def train_classifier(
    context: RunContext, extracted: Extracted, reduced: Reduced
) -> Classified | str:
    """Trains a classifier on the training images, or takes it from the model that is used.

    Returns:
        The classifier, or the reason why there is none.
    """
    if context.basis is not None:
        kept = context.basis.classifier
        if kept is None:
            return f"the model of {context.config.model} has no classifier"
        return Classified(
            kept.classifier, kept.most_frequent, kept.baselines, None, None, kept.about
        )
    if context.config.classifier == "none":
        return "the option classifier is none"
    images = extracted.labelled(reduced.side)
    labels = sorted({label for part in images for label in pc.unique(part["label"]).to_pylist()})
    if len(labels) < 2:
        found = f"{labels[0]!r} only" if labels else "none"
        return (
            f"wanted at least two labels among the training images; found {found}: "
            f"{_other_labels(context.config)}"
        )
    with context.stages("classify"):
        return _train(context, images, len(labels))


def _other_labels(config: RunConfig) -> str:
    """What to do if a rule finds too few labels."""
    if config.label not in (None, "parent", "grandparent"):
        return f"correct label, which is {config.label!r}"
    other = "parent" if config.label == "grandparent" else "grandparent"
    return f"if the labels are in another part of the paths, set label, for example to {other}"


def _train(context: RunContext, images: Parts, labels: int) -> Classified:
    folds, about = training_folds(images, context.config.naming)
    chosen = context.config.transform
    transforms = TRANSFORMS if chosen == "auto" else (chosen,)
    place = context.staged.root / "folds"
    moments, parts = _folds(context, folds, place, transforms, labels)
    fit = None
    if context.config.classifier == "softmax":
        from fruits.spark.parquet import read_features
        from fruits.spark.softmax import SoftmaxRegression

        assert context.session is not None  # Local workers are not chosen for it.
        features = read_features(context.session, context.store)
        fit = SoftmaxRegression(features, folds.table())
    training = train(moments, parts, fit)
    if fit is not None:
        about["unconverged"] = fit.unconverged
    delete_folder(place)
    return Classified(
        training.classifier,
        training.most_frequent,
        Baselines.of(moments[training.classifier.transform]),
        training.evaluation,
        training.held_out,
        _about(training, about, moments),
    )


def _folds(
    context: RunContext, parts: Parts, place: Location, transforms: Sequence[str], labels: int
) -> tuple[Mapping[str, Measured], Sequence[Fold]]:
    """The moments of the training images, and their folds. A few images need no tasks."""
    if parts.num_rows > most_scored(labels):
        return cross_validation(context.workers, context.store, parts, place, transforms, labels)
    folds = parts.table().sort_by("path").combine_chunks()
    rows = context.store.dataset().to_table(
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


def _about(
    training: Training, others: Mapping[str, Any], moments: Mapping[str, Measured]
) -> dict[str, Any]:
    """How the classifier was chosen, for run.json."""
    classifier = training.classifier
    return {
        "kind": classifier.kind,
        "labels": len(classifier.labels),
        "training_images": moments[classifier.transform].count,
        "transform": classifier.transform,
        "shrinkage": classifier.shrinkage,
        "distance_shrinkage": classifier.distance_shrinkage,
        "temperature": classifier.temperature,
        # JSON has no infinity.
        "unknown_above": classifier.threshold if np.isfinite(classifier.threshold) else None,
        **others,
        "trials": [
            {"transform": one.transform, "shrinkage": one.shrinkage, "accuracy": one.accuracy}
            for one in training.trials
        ],
    }
