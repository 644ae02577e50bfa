"""A grouped cross-validation's folds on Spark: their moments, and samples of images to score.

One pass over the features: tasks of some files each measure every fold, and further ones merge what
belongs to one fold. The sums are exact, so the moments of all images are those of the folds added
up, and nothing depends on how images are spread over files and tasks.

Where the moments take less space than the features, they are kept next to those. When images come
or go, what is new is added, and what is gone subtracted: the same bits as from measuring all again.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from fruits.classify.changes import (
    Changes,
    Merge,
    Part,
    measure_files,
    measure_rows,
    merges,
    read_samples,
)
from fruits.classify.choose import Fold
from fruits.classify.groups import TRAIN_ONLY
from fruits.classify.model import TRANSFORMS
from fruits.features.kept_folds import KeptFolds
from fruits.features.moments import Moments
from fruits.features.moments_file import read_moments
from fruits.features.table import FeatureTable
from fruits.spark.tasks import run_tasks

SCORED = 20_000
"""Images that are scored at most, in all folds together."""

_FILES_OF_A_TASK = 32
"""Files of a few hundred rows that a task has in memory: 80 MB with 1,280 features."""


_BYTES_OF_A_SUM = 18
"""Of moments that are kept, at most."""


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
        table: the features, under the lock of their output.
        folds: of each training image, ``path`` and ``label``, strings, and ``fold``, int64,
            `TRAIN_ONLY` where it is never tested.
        place: URI of a folder for temporary files, which the folds read; the caller deletes it.
        transforms: those to try.

    Returns:
        The moments of all training images, for each transform; and the folds, in order, which read
        their moments and features whenever they are asked for them.

    Raises:
        ValueError: an image of `folds` has no features.
    """
    images = _with_scored(folds)
    kept = KeptFolds.read(table.uri)
    changes = Changes.since(kept, images, transforms) if kept else None
    found = _measured(spark, table, changes, f"{place}/new", transforms) if changes else None
    if found is None:
        found = _measured(spark, table, Changes.all_of(images), f"{place}/all", transforms)
    if found is None:
        raise ValueError(
            f"wanted features of all {folds.num_rows:,} training images; some have none"
        )
    return found


def _measured(
    spark: SparkSession,
    table: FeatureTable,
    changes: Changes,
    place: str,
    transforms: Sequence[str],
) -> tuple[dict[str, Moments], list[Fold]] | None:
    """The result, or None if it is not that of all images."""
    parts = _parts(spark, table, changes, place, transforms)
    keep = _to_keep(table, changes.images, transforms, max((p.width for p in parts), default=0))
    jobs = merges(parts, changes, keep.prefix if keep else f"{place}/fold", transforms)
    merged = run_tasks(
        spark, Merge.run, list(jobs.values()), f"classifier: merge {len(jobs):,} moments of folds"
    )
    if not all(merged):
        return None
    folds = sorted(set(changes.images["fold"].to_pylist()))
    moments = {
        fold: _FoldMoments({name: jobs[fold, name].target for name in transforms}) for fold in folds
    }
    total = {name: _total(list(moments.values()), name) for name in transforms}
    counts = Counter(changes.images["label"].to_pylist())
    if any(_counts(own) != counts for own in total.values()):
        return None
    if keep:
        keep.write()
    samples = {fold: [uri for part in parts for uri in part.sample(fold)] for fold in folds}
    return total, [
        Fold(
            moments[fold],
            partial(read_samples, samples[fold]),
            _scored(changes.images, fold, "label"),
            _scored(changes.images, fold, "path"),
        )
        for fold in folds
        if fold != TRAIN_ONLY
    ]


def _parts(
    spark: SparkSession,
    table: FeatureTable,
    changes: Changes,
    place: str,
    transforms: Sequence[str],
) -> list[Part]:
    """Measures the rows of the table by tasks, and those that are gone here, since they are few."""
    files = table.files()
    slots = spark.sparkContext.defaultParallelism
    count = min(len(files), max(slots, math.ceil(len(files) / _FILES_OF_A_TASK)))
    cuts = [len(files) * number // max(count, 1) for number in range(count + 1)]
    groups = [(f"{place}/{n}", files[a:b]) for n, (a, b) in enumerate(pairwise(cuts))]
    entries = spark.sparkContext.broadcast(changes.rows)
    parts = run_tasks(
        spark,
        lambda group: measure_files(group[1], entries.value, group[0], transforms),
        groups,
        f"classifier: moments of {changes.count:,} images, by fold",
    )
    if changes.kept and changes.gone.num_rows:
        rows = changes.kept.gone()
        parts.append(measure_rows(rows, changes.gone, f"{place}/gone", transforms))
    return parts


def _to_keep(
    table: FeatureTable, images: pa.Table, transforms: Sequence[str], width: int
) -> KeptFolds | None:
    """Where moments are kept that take less space than the features; else None."""
    sums = len(transforms) * len(pc.unique(images["fold"])) * width * (width + 1) // 2
    if width == 0 or sums * _BYTES_OF_A_SUM > images.num_rows * width * 4:
        return None
    return KeptFolds.new(table.uri, transforms, images)


class _FoldMoments(Mapping[str, Moments]):
    """The moments of a fold for each transform, read when they are asked for."""

    def __init__(self, uris: dict[str, str]) -> None:
        self.uris = uris

    def __getitem__(self, transform: str) -> Moments:
        return read_moments(self.uris[transform])

    def __iter__(self) -> Iterator[str]:
        return iter(self.uris)

    def __len__(self) -> int:
        return len(self.uris)


def _total(folds: Sequence[_FoldMoments], transform: str) -> Moments:
    total = Moments.empty()
    for fold in folds:
        total = total.merge(fold[transform])
    return total


def _counts(moments: Moments) -> dict[str | None, int]:
    return {label: sums.count for label, sums in moments.labels.items()}


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


def _scored(images: pa.Table, fold: int, column: str) -> list[str]:
    """A column of the images of a fold that are scored, in the order of their paths."""
    some = pc.and_(pc.equal(images["fold"], fold), images["scored"])
    values: list[str] = images.filter(some)[column].to_pylist()
    return values
