"""Measures the classifier from moments against Spark ML's and scikit-learn's on the same features.

    python -m benchmarks.classify [--images DIR] [--rows N] [--features N] [--labels N]

There are two parts. The first one measures the seconds of a fit to synthetic features, as many as
in a run. Our fit starts from moments, which a run already has; for Spark the table is cached, and
for scikit-learn it is in memory. The second part uses photographs in folders Training and Test. It
also measures the accuracy on Test, and in a cross-validation on Training that keeps the frames of
each film together. There, transform and shrinkage are chosen anew for each fold, without its films.
Each rival has one setting.
"""

import argparse
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn import linear_model
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from benchmarks.inputs import DATA, ROOT
from benchmarks.report import Row, table, write_json
from fruits.classify.choose import Fold
from fruits.classify.fit import Discriminant
from fruits.classify.groups import TRAIN_ONLY, assign_folds, group_images
from fruits.classify.train import Training, train
from fruits.classify.transforms import TRANSFORMS, transform_features
from fruits.features.moments import Moments
from fruits.features.rows import lists, write_rows
from fruits.networks.compile import compile_backbone
from fruits.networks.runtime import featurize
from fruits.sources.folder import list_folder, read_contents
from fruits.sources.naming import Naming
from fruits.spark.session import get_spark
from fruits.storage.location import Location

Features = NDArray[np.float32]
Places = NDArray[np.int64]
Predict = Callable[[Features], Places]

BACKBONE = "EfficientNetLite0"
FOLDER = DATA / "classify"
RANK = 200
STEPS = 100
"""The maximum number of iterations of a logistic regression."""
PENALTY = 0.01
"""The weight of the squared coefficients in a logistic regression by Spark, for features that it
scales to the same variance, as it does by default. ``--classifier softmax`` has another penalty."""


def main() -> None:
    options = _options()
    spark = get_spark()
    report = {"drawn": drawn(spark, options)}
    if options.images:
        report["photographs"] = photographs(spark, options.images)
    print("\n" + describe(report))
    write_json(report, DATA / "classify.json")


def describe(report: dict[str, list[Row]]) -> str:
    """A table for each part."""
    names = ["seconds", "split", "grouped"]  # the accuracy of both evaluations
    parts = []
    for part, rows in report.items():
        lines = [[row["title"], row["size"], *(row.get(name) for name in names)] for row in rows]
        parts.append(table(lines, [part, "images x features x labels", *names]))
        ours = rows[0]["seconds"]
        ratios = (f"{row['seconds'] / ours:,.0f} x ({row['title']})" for row in rows[1:])
        parts.append("the fit from moments is faster: " + ", ".join(ratios))
    return "\n\n".join(parts)


def drawn(spark: SparkSession, options: argparse.Namespace) -> list[Row]:
    """The seconds of each fit to random features: low rank, with noise, negative values are 0."""
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((RANK, options.features), np.float32)
    basis *= np.geomspace(1, 0.01, RANK, dtype=np.float32)[:, np.newaxis]
    centres = rng.standard_normal((options.labels, RANK), np.float32)
    labels = np.arange(options.rows) % options.labels
    x = np.empty((options.rows, options.features), np.float32)
    for start in range(0, options.rows, 10_000):
        some = centres[labels[start : start + 10_000]]
        block = (some + rng.standard_normal(some.shape, np.float32)) @ basis
        x[start : start + 10_000] = np.maximum(block, 0)
    own = {"none": Moments.of(x, _names(labels))}
    rows = [_row("fruits, LDA from moments", x, labels, *_from_moments(own, 0.1, "none"))]
    others = {"scikit-learn, LDA": _sklearn_lda(0.1), "Spark ML, softmax": _spark(spark)}
    return rows + [_row(title, x, labels, *fit(x, labels)) for title, fit in others.items()]


def photographs(spark: SparkSession, images: Path) -> list[Row]:
    """The seconds of each fit to photographs, and its accuracy in both evaluations."""
    x, names, sides, paths = extracted(images)
    train_rows, test_rows = (np.flatnonzero(sides == side) for side in ("train", "test"))
    every, labels = np.unique(names, return_inverse=True)
    own = names[train_rows].tolist()
    groups = group_images([paths[row] for row in train_rows], own)
    fold_of = assign_folds(groups.names, own)
    training = _trained(x[train_rows], own, fold_of)
    chosen = training.classifier
    moments = {
        chosen.transform: Moments.of(transform_features(x[train_rows], chosen.transform), own)
    }
    fits: dict[str, Callable[[Features, Places], tuple[Predict, float]]] = {
        "scikit-learn, LDA": _sklearn_lda(chosen.shrinkage),
        "scikit-learn, softmax": _sklearn_softmax,
        "Spark ML, softmax": _spark(spark),
    }
    known = np.array([every.tolist().index(label) for label in chosen.labels])
    predict, seconds = _from_moments(moments, chosen.shrinkage, chosen.transform)
    row = _row("fruits, LDA from moments", x[train_rows], labels[train_rows], predict, seconds)
    row["split"] = float((known[predict(x[test_rows])] == labels[test_rows]).mean())
    row["grouped"] = _chosen_without_fold(x[train_rows], own, fold_of)
    row["chosen"] = {"transform": chosen.transform, "shrinkage": chosen.shrinkage}
    rows = [row]
    for title, fit in fits.items():
        predict, seconds = fit(x[train_rows], labels[train_rows])
        row = _row(title, x[train_rows], labels[train_rows], predict, seconds)
        row["split"] = float((predict(x[test_rows]) == labels[test_rows]).mean())
        row["grouped"] = _held_out(fit, x[train_rows], labels[train_rows], fold_of)
        rows.append(row)
    return rows


def _row(title: str, x: Features, labels: Places, predict: Predict, seconds: float) -> Row:
    size = f"{len(x):,} x {x.shape[1]:,} x {len(set(labels.tolist())):,}"
    print(f"{title}: {seconds:.3f} s", flush=True)
    return {"title": title, "size": size, "seconds": seconds}


def _trained(x: Features, labels: list[str], fold_of: Places) -> Training:
    """The classifier that a run chooses by cross-validation."""
    names = np.array(labels)
    total = {name: Moments.of(transform_features(x, name), labels) for name in TRANSFORMS}
    folds = []
    for number in sorted(set(fold_of.tolist()) - {TRAIN_ONLY}):
        some = x[fold_of == number]
        own = names[fold_of == number].tolist()
        moments = {name: Moments.of(transform_features(some, name), own) for name in TRANSFORMS}
        folds.append(Fold(moments, lambda some=some: some, own))  # type: ignore[misc]
    return train(total, folds)


def _held_out(
    fit: Callable[[Features, Places], tuple[Predict, float]],
    x: Features,
    labels: Places,
    fold_of: Places,
) -> float:
    """The accuracy in a cross-validation."""
    right = 0
    for number in sorted(set(fold_of.tolist()) - {TRAIN_ONLY}):
        held = fold_of == number
        predict, _ = fit(x[~held], labels[~held])
        right += int((predict(x[held]) == labels[held]).sum())
    return right / int((fold_of != TRAIN_ONLY).sum())


def _chosen_without_fold(x: Features, labels: list[str], fold_of: Places) -> float:
    """The accuracy in a cross-validation that chooses the settings without the held-out fold."""
    names = np.array(labels)
    right = 0
    for number in sorted(set(fold_of.tolist()) - {TRAIN_ONLY}):
        held = fold_of == number
        chosen = _trained(x[~held], names[~held].tolist(), fold_of[~held]).classifier
        found = np.array(chosen.labels)[chosen.logits(x[held]).argmax(axis=1)]
        right += int((found == names[held]).sum())
    return right / int((fold_of != TRAIN_ONLY).sum())


def _from_moments(
    moments: dict[str, Moments], shrinkage: float, transform: str
) -> tuple[Predict, float]:
    begin = time.perf_counter()
    classifier = Discriminant.of(moments[transform]).classifier(shrinkage, transform)
    seconds = time.perf_counter() - begin
    return lambda x: classifier.logits(x).argmax(axis=1), seconds


def _sklearn_lda(shrinkage: float) -> Callable[[Features, Places], tuple[Predict, float]]:
    def fit(x: Features, labels: Places) -> tuple[Predict, float]:
        begin = time.perf_counter()
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, labels)
        return model.predict, time.perf_counter() - begin

    return fit


def _sklearn_softmax(x: Features, labels: Places) -> tuple[Predict, float]:
    begin = time.perf_counter()
    model = linear_model.LogisticRegression(max_iter=STEPS).fit(x, labels)
    return model.predict, time.perf_counter() - begin


def _spark(spark: SparkSession) -> Callable[[Features, Places], tuple[Predict, float]]:
    def fit(x: Features, labels: Places) -> tuple[Predict, float]:
        shutil.rmtree(FOLDER, ignore_errors=True)
        for start in range(0, len(x), 10_000):
            some = slice(start, start + 10_000)
            columns = {"label": pa.array(labels[some].astype(float)), "features": lists(x[some])}
            write_rows(Location.of(f"{FOLDER}/{start:09}.parquet"), pa.table(columns))
        rows = spark.read.parquet(f"file:{FOLDER}")
        vectors = rows.select("label", array_to_vector(F.col("features")).alias("features"))
        cached = vectors.cache()
        cached.count()
        begin = time.perf_counter()
        model = LogisticRegression(family="multinomial", regParam=PENALTY, maxIter=STEPS).fit(
            cached
        )
        seconds = time.perf_counter() - begin
        cached.unpersist()
        weights, offset = model.coefficientMatrix.toArray(), model.interceptVector.toArray()
        return lambda some: (some @ weights.T + offset).argmax(axis=1), seconds

    return fit


def extracted(
    images: Path,
) -> tuple[Features, NDArray[np.str_], NDArray[np.str_], list[str]]:
    """Features, labels, splits and paths of the photographs, without incomplete rows."""
    found = list_folder(str(images), Naming()).images.table()
    graph = compile_backbone(BACKBONE)
    pairs = zip(found["path"].to_pylist(), found["length"].to_pylist(), strict=True)
    features = featurize((one for one in read_contents(pairs)), graph)
    rows = [
        (x, label, side, path)
        for x, label, side, path in zip(
            features, *(found[name].to_pylist() for name in ("label", "split", "path")), strict=True
        )
        if not isinstance(x, str) and label and side
    ]
    x, labels, sides, paths = zip(*rows, strict=True)
    return np.stack(x), np.array(labels), np.array(sides), list(paths)


def _names(labels: Places) -> list[str]:
    return [f"{label:03}" for label in labels.tolist()]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classify", description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of photographs, with Training and Test")
    parser.add_argument("--rows", type=int, default=90_000)
    parser.add_argument("--features", type=int, default=1_280)
    parser.add_argument("--labels", type=int, default=131)
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
