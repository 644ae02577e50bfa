"""A grouped cross-validation's folds on Spark: their moments, and samples of images to score.

One pass over the features: tasks of some files each measure every fold, and further ones merge what
belongs to one fold. The sums are exact, so the moments of all images are those of the folds added
up, and nothing depends on how images are spread over files and tasks.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from fruits.classify.groups import TRAIN_ONLY
from fruits.classify.model import TRANSFORMS, mapped
from fruits.classify.train import Fold
from fruits.features.moments import Moments
from fruits.features.moments_file import merge_files, read_moments
from fruits.features.rows import lists, matrix, read_rows, write_rows
from fruits.features.table import FeatureTable
from fruits.spark.tasks import run_tasks
from fruits.storage.files import replace

SCORED = 20_000
"""Images that are scored at most, in all folds together."""

_FILES_OF_A_TASK = 32
"""Files of a few hundred rows that a task has in memory: 80 MB with 1,280 features."""


def cross_validation(
    spark: SparkSession,
    table: FeatureTable,
    folds: pa.Table,
    place: str,
    transforms: Sequence[str] = TRANSFORMS,
) -> tuple[dict[str, Moments], list[Fold]]:
    """What :func:`fruits.classify.train.train` needs.

    Args:
        spark: the session.
        table: the features.
        folds: of each training image, ``path`` and ``label``, strings, and ``fold``, int64,
            `TRAIN_ONLY` where it is never tested.
        place: URI of a folder for temporary files, which the folds read; the caller deletes it.
        transforms: those to try.

    Returns:
        The moments of all training images, for each transform; and the folds, in order, which read
        their moments and features from `place` whenever they are asked for them.

    Raises:
        ValueError: an image of `folds` has no features.
    """
    images = _with_scored(folds)
    files = table.files()
    slots = spark.sparkContext.defaultParallelism
    count = min(len(files), max(slots, math.ceil(len(files) / _FILES_OF_A_TASK)))
    cuts = [len(files) * number // max(count, 1) for number in range(count + 1)]
    groups = [_Group(f"{place}/{n}", files[a:b]) for n, (a, b) in enumerate(pairwise(cuts))]
    shared = spark.sparkContext.broadcast(images)
    measured = run_tasks(
        spark,
        lambda group: group.measure(shared.value, transforms),
        groups,
        f"classifier: moments of {len(groups):,} groups of files, by fold",
    )
    parts: dict[int, list[str]] = {}
    for group, found in zip(groups, measured, strict=True):
        for fold in found:
            parts.setdefault(fold, []).append(group.prefix)
    of_fold = {fold: _FoldMoments(f"{place}/{fold}", tuple(transforms)) for fold in sorted(parts)}
    jobs = [
        ([_moments_uri(prefix, fold, transform) for prefix in parts[fold]], own.uri(transform))
        for fold, own in of_fold.items()
        for transform in transforms
    ]
    run_tasks(spark, lambda job: merge_files(*job), jobs, f"classifier: merge {len(parts)} folds")
    total = {transform: _total(of_fold, transform) for transform in transforms}
    if any(moments.count != folds.num_rows for moments in total.values()):
        raise ValueError(
            f"wanted features of all {folds.num_rows:,} training images; some have none"
        )
    return total, [
        Fold(own, partial(_features, parts[fold], fold), _labels(images, fold))
        for fold, own in of_fold.items()
        if fold != TRAIN_ONLY
    ]


@dataclass(frozen=True)
class _Group:
    """Files that a task measures.

    Attributes:
        prefix: with which the URIs of its results begin.
        files: their URIs.
    """

    prefix: str
    files: list[str]

    def measure(self, images: pa.Table, transforms: Sequence[str]) -> list[int]:
        """Writes the moments, and the rows to score, of each fold; returns which folds there are.

        Args:
            images: with the columns ``path``, ``label``, ``fold`` and ``scored``.
            transforms: those to try.
        """
        rows = pa.concat_tables(
            [read_rows(file, ["path", "features"], images["path"]) for file in self.files]
        ).combine_chunks()
        own = images.take(pc.index_in(rows["path"], images["path"]))
        x = matrix(rows["features"].combine_chunks())
        scored = own["scored"].to_numpy()
        fold_of = own["fold"].to_numpy()
        folds: list[int] = np.unique(fold_of).tolist()
        for fold in folds:
            some = np.flatnonzero(fold_of == fold)
            labels = own["label"].take(some).to_pylist()
            for transform in transforms:
                moments = Moments.of(mapped(x[some], transform), labels)
                replace(_moments_uri(self.prefix, fold, transform), moments.to_bytes())
            sample = some[scored[some]]
            columns = {"path": rows["path"].take(sample), "features": lists(x[sample])}
            write_rows(_sample_uri(self.prefix, fold), pa.table(columns))
        return folds


@dataclass(frozen=True)
class _FoldMoments(Mapping[str, Moments]):
    """The moments of a fold for each transform, read when they are asked for."""

    prefix: str
    transforms: tuple[str, ...]

    def uri(self, transform: str) -> str:
        return f"{self.prefix}.{transform}.moments"

    def __getitem__(self, transform: str) -> Moments:
        if transform not in self.transforms:
            raise KeyError(transform)
        return read_moments(self.uri(transform))

    def __iter__(self) -> Iterator[str]:
        return iter(self.transforms)

    def __len__(self) -> int:
        return len(self.transforms)


def _moments_uri(prefix: str, fold: int, transform: str) -> str:
    return f"{prefix}-{fold}.{transform}.moments"


def _sample_uri(prefix: str, fold: int) -> str:
    return f"{prefix}-{fold}.parquet"


def _total(folds: dict[int, _FoldMoments], transform: str) -> Moments:
    total = Moments.empty()
    for fold in folds.values():
        total = total.merge(fold[transform])
    return total


def _with_scored(folds: pa.Table) -> pa.Table:
    """The images in the order of their paths, with a column that says which ones are scored.

    They are chosen by a hash of their paths: evenly, and the same ones for the same images.
    """
    images = folds.select(["path", "label", "fold"]).sort_by("path")
    tested = np.flatnonzero(images["fold"].to_numpy() != TRAIN_ONLY)
    hashes = [
        hashlib.blake2b(path.encode(), digest_size=8).digest()
        for path in images["path"].take(tested).to_pylist()
    ]
    chosen = sorted(range(len(hashes)), key=hashes.__getitem__)[:SCORED]
    scored = np.zeros(images.num_rows, bool)
    scored[tested[chosen]] = True
    return images.append_column("scored", pa.array(scored))


def _labels(images: pa.Table, fold: int) -> list[str]:
    """The labels of the images of a fold that are scored, in the order of their paths."""
    some = pc.and_(pc.equal(images["fold"], fold), images["scored"])
    labels: list[str] = images.filter(some)["label"].to_pylist()
    return labels


def _features(prefixes: list[str], fold: int) -> NDArray[np.floating[Any]]:
    """The features of the images of a fold that are scored, in the order of their paths."""
    columns = ["path", "features"]
    tables = [read_rows(_sample_uri(prefix, fold), columns) for prefix in prefixes]
    return matrix(pa.concat_tables(tables).sort_by("path")["features"].combine_chunks())
