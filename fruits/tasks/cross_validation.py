"""The folds of a grouped cross-validation, by tasks: their moments, and samples to score.

One pass over the features is enough: each task measures all folds in some files, and further tasks
merge the moments of each fold. The sums are exact, so the moments of all images are the sum of the
moments of the folds, and do not depend on how images are divided into files and tasks.

If the moments take less space than the features, they are stored next to them, with the features of
the images to score. When images come or go, their sums are added or subtracted, which gives the
same bits as measuring all images again, and other features are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.classify.choose import Fold
from fruits.classify.groups import TRAIN_ONLY
from fruits.classify.transforms import TRANSFORMS
from fruits.errors import OutputError
from fruits.features.file_groups import task_groups
from fruits.features.moments import Moments
from fruits.features.moments_file import read_moments
from fruits.features.table import FeatureTable
from fruits.folds.incremental_moments import (
    Changes,
    Merge,
    TaskResult,
    measure_dropped,
    measure_files,
    plan_merges,
)
from fruits.folds.kept_folds import KeptFolds, delete_folds
from fruits.folds.scored_images import Sample, most_scored, sample_scored
from fruits.sources.parts import Parts
from fruits.sources.row_counts import value_counts
from fruits.storage.location import Location
from fruits.tasks.row_actions_by_file import entries_by_file
from fruits.tasks.workers import Workers

_TASK_FILES = 32
_TASK_BYTES = 128 * 2**20
"""The features of a task, which are in memory, in Parquet. With less, the time to write the moments
of each fold would be longer than the time to measure them."""


_BYTES_OF_A_SUM = 12
"""Compressed bytes of a stored sum: networks took 8 to 9, and 18 is the maximum."""


def cross_validation(
    workers: Workers,
    table: FeatureTable,
    folds: Parts,
    place: Location,
    transforms: Sequence[str] = TRANSFORMS,
    labels: int = 1,
) -> tuple[dict[str, Moments], list[Fold]]:
    """Computes the arguments of :func:`fruits.classify.train.train`.

    Args:
        workers: The workers.
        table: The features, under the lock of their output.
        folds: The training images: ``path`` and ``label``, strings, and ``fold``, int64, which is
            `TRAIN_ONLY` if an image is never tested.
        place: A folder for temporary files, which the folds read. The caller deletes it.
        transforms: The transforms to try.
        labels: The number of labels. With thousands, fewer images are scored.

    Returns:
        The moments of all training images for each transform, and the folds in order. The folds
        read their moments and features each time they are used.

    Raises:
        ValueError: An image of `folds` has no features.
    """
    images = sample_scored(folds, most_scored(labels))
    kept = KeptFolds.read(table.root)
    changes = None
    with suppress(OutputError):  # Stored moments are damaged: all images are measured again.
        changes = Changes.since(kept, images, transforms) if kept else None
    found = _measured(workers, table, changes, place / "new", transforms) if changes else None
    if found is None:
        found = _measured(workers, table, Changes.all_of(images), place / "all", transforms)
    if found is None:
        raise ValueError(
            f"wanted features of all {folds.num_rows:,} training images; some have none"
        )
    return found


def _measured(
    workers: Workers,
    table: FeatureTable,
    changes: Changes,
    place: Location,
    transforms: Sequence[str],
) -> tuple[dict[str, Moments], list[Fold]] | None:
    """The moments and the folds; None if the moments are not those of all images."""
    parts = _parts(workers, table, changes, place, transforms)
    known = _Known.of(changes.images)
    width = max((part.width for part in parts), default=0)
    keep = _to_keep(table, changes.images.num_rows, known, transforms, width)
    prefix = keep.prefix if keep else place / "fold"
    jobs = plan_merges(parts, changes, known.folds, prefix, transforms)
    merged = workers.run(
        Merge.run, list(jobs.values()), f"classifier: merge {len(jobs):,} moments of folds"
    )
    if not all(merged):
        return None
    folds = sorted(known.folds)
    moments = {
        fold: _FoldMoments({name: jobs[fold, name].target for name in transforms}) for fold in folds
    }
    total = {name: _total(list(moments.values()), name) for name in transforms}
    if any(_counts(own) != known.labels for own in total.values()):
        return None
    tested = [fold for fold in folds if fold != TRAIN_ONLY]
    scored = {fold: known.scored_in(fold) for fold in tested}
    samples = [
        Sample(
            [file for part in parts for file in part.sample(fold)],
            changes.sample(fold),
            scored[fold][1],
        )
        for fold in tested
    ]
    if width:  # Otherwise nothing has changed since the sums were stored.
        targets = [(keep.sample(n) if keep else place / f"sample-{n}.parquet") for n in tested]
        what = f"classifier: features of {known.scored.num_rows:,} images to score"
        both = list(zip(samples, targets, strict=True))
        written = workers.run(lambda job: job[0].keep(job[1]), both, what)
        samples = [one for one in written if one]
        if len(samples) < len(written):
            return None
        if keep:
            keep.write(changes.images)
        else:
            # Moments of other transforms, of mostly other images, or too large.
            delete_folds(table.root)
    return total, [
        Fold(moments[fold], sample.features, *scored[fold])
        for fold, sample in zip(tested, samples, strict=True)
    ]


@dataclass(frozen=True)
class _Known:
    """Counts and samples of images that are read part by part.

    Attributes:
        labels: The number of images with each label.
        folds: The folds with images.
        scored: The rows of the images to score, ordered by path.
    """

    labels: dict[str, int]
    folds: set[int]
    scored: pa.Table

    @classmethod
    def of(cls, images: Parts) -> _Known:
        labels, folds, scored = Counter[str](), set[int](), []
        for part in images:
            labels.update(value_counts(part["label"]))
            folds |= set(pc.unique(part["fold"]).to_pylist())
            scored.append(part.filter(part["scored"]))
        return cls(dict(labels), folds, pa.concat_tables(scored).sort_by("path"))

    def scored_in(self, fold: int) -> tuple[list[str], list[str]]:
        """The labels and paths of the images to score in a fold."""
        own = self.scored.filter(pc.equal(self.scored["fold"], fold))
        return own["label"].to_pylist(), own["path"].to_pylist()


def _parts(
    workers: Workers,
    table: FeatureTable,
    changes: Changes,
    place: Location,
    transforms: Sequence[str],
) -> list[TaskResult]:
    """Measures the rows of the table, and the rows that were dropped from it, in tasks."""
    # Not by a broadcast, which would send the entries of all rows to each task.
    entries = entries_by_file(workers, table, changes.rows, place / "entries")
    files = [file for file in table.files() if file.name in entries]
    groups = task_groups(table.root, files, _TASK_BYTES, _TASK_FILES, workers.slots)
    jobs: list[Callable[[], TaskResult]] = []
    for group in groups:
        own = dict.fromkeys(entries[file.name] for file in group)
        prefix = place / str(len(jobs))
        jobs.append(partial(measure_files, group, [*own], prefix, transforms))
    if changes.kept and changes.gone.num_rows:
        for name, rows, own in _dropped(changes.dropped, changes.gone):
            file = changes.kept.place / name
            prefix = place / f"gone-{len(jobs)}"
            jobs.append(partial(measure_dropped, file, rows, own, prefix, transforms))
    what = f"classifier: moments of {changes.count:,} images, by fold"
    return workers.run(lambda job: job(), jobs, what)


def _dropped(
    rows: pa.Table, entries: pa.Table
) -> Iterator[tuple[str, NDArray[np.int64], pa.Table]]:
    """The names of the files with dropped rows, with the rows that count and their entries.

    The tables are copies of their own rows: a slice would be sent with all rows.
    """
    entries = entries.append_column("at", pc.index_in(entries["path"], rows["path"]))
    entries = entries.filter(pc.is_valid(entries["at"])).sort_by("at").combine_chunks()
    own = rows.take(entries["at"]).combine_chunks()
    codes = own["file"].combine_chunks()
    numbers, places = np.asarray(codes.indices), own["row"].to_numpy()
    for number in np.unique(numbers):
        some = np.flatnonzero(numbers == number)
        name = codes.dictionary[int(number)].as_py()
        yield name, np.unique(places[some]), entries.drop_columns(["at"]).take(some)


def _to_keep(
    table: FeatureTable, images: int, known: _Known, transforms: Sequence[str], width: int
) -> KeptFolds | None:
    """Where to store the moments, if they take less space than the features; else None."""
    of_labels = min(len(known.folds) * len(known.labels), images)
    # The range of a label takes as much space as its sum.
    sums = len(known.folds) * width * (width + 1) // 2 + 2 * of_labels * width
    if width == 0 or len(transforms) * sums * _BYTES_OF_A_SUM > images * width * 4:
        return None
    return KeptFolds.new(table.root, transforms)


class _FoldMoments(Mapping[str, Moments]):
    """The moments of a fold by transform, which are read on access."""

    def __init__(self, files: dict[str, Location]) -> None:
        self.files = files

    def __getitem__(self, transform: str) -> Moments:
        return read_moments(self.files[transform])

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def _total(folds: Sequence[_FoldMoments], transform: str) -> Moments:
    total = Moments.empty()
    for fold in folds:
        total = total.merge(fold[transform])
    return total


def _counts(moments: Moments) -> dict[str | None, int]:
    return {label: sums.count for label, sums in moments.labels.items()}
