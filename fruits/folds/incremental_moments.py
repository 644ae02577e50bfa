"""Finds what a cross-validation must measure, if moments of its folds are already stored."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.classify.transforms import transform_features
from fruits.features.moments import Moments
from fruits.features.moments_file import try_merge
from fruits.features.rows import lists, matrix, read_rows, write_rows
from fruits.folds.kept_folds import FOLDED, KeptFolds, fold_moments
from fruits.folds.row_actions import (
    ADD,
    ENTRIES,
    SCORE,
    SUBTRACT,
)
from fruits.sources.parts import Parts, Read
from fruits.sources.spread import Spread
from fruits.storage.files import replace
from fruits.storage.location import Location


@dataclass(frozen=True)
class Changes:
    """What must be measured, and what is already stored.

    Attributes:
        images: All training images: :data:`IMAGES`, sorted by path.
        rows: The actions for rows of the table: :data:`ENTRIES`, in the parts of the images. An
            image that changes its fold has two entries.
        count: The number of rows to measure.
        gone: The actions for rows that were dropped from the table.
        kept: The stored moments; None if there are none.
        kept_folds: The folds that have stored moments.
        dropped: The rows of :meth:`KeptFolds.gone`; None if nothing is stored.
    """

    images: Parts
    rows: Parts
    count: int
    gone: pa.Table
    kept: KeptFolds | None
    kept_folds: frozenset[int] = frozenset()
    dropped: pa.Table | None = None

    def sample(self, fold: int) -> Location | None:
        """The file of a stored fold with features of scored images; None if there is none."""
        if self.kept is None or fold not in self.kept_folds:
            return None
        place = self.kept.sample(fold)
        return place if place.filesystem.exists(place.path) else None

    @classmethod
    def all_of(cls, images: Parts) -> Changes:
        """Measures all images, because nothing is stored."""
        reads = [partial(_added, read) for read in images.reads]
        rows = Parts(ENTRIES, images.bounds, images.rows, reads)
        return cls(images, rows, images.num_rows, ENTRIES.empty_table(), None)

    @classmethod
    def since(cls, kept: KeptFolds, images: Parts, transforms: Sequence[str]) -> Changes | None:
        """The changes since the moments were stored; None if measuring all images is less work.

        Raises:
            OutputError: the stored files are damaged.
        """
        if kept.transforms != tuple(transforms):
            return None
        dropped_rows = kept.gone()
        dropped = dropped_rows["path"]
        before, folds = Spread(FOLDED, images.bounds), set[int]()
        for rows in kept.images():
            folds |= set(pc.unique(rows["fold"]).to_pylist())
            before.add(rows.cast(FOLDED))
        entries, lost = Spread(ENTRIES, images.bounds), [ENTRIES.empty_table()]
        sampled = kept.sampled()
        measured = 0
        for number, (now, then) in enumerate(zip(images, before.parts(), strict=True)):
            stay, new, old = _compared(now, then, dropped)
            measured += new.num_rows + old.num_rows
            gone = pc.is_in(old["path"], dropped)
            scored = pc.and_not(stay["scored"], pc.is_in(stay["path"], sampled))
            entries.add_to(number, _signed(stay.filter(scored), SCORE))
            entries.add_to(number, _signed(new, ADD))
            entries.add_to(number, old.filter(pc.invert(gone)))
            lost.append(old.filter(gone))
            if 2 * measured > images.num_rows:
                return None
        gone_rows = pa.concat_tables(lost)
        folds_kept = frozenset(folds)
        return cls(images, entries.parts(), measured, gone_rows, kept, folds_kept, dropped_rows)


def _added(read: Read) -> pa.Table:
    return _signed(read(), ADD)


def _compared(
    now: pa.Table, then: pa.Table, dropped: pa.ChunkedArray
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The unchanged images, the new images, and the entries to subtract."""
    was = then.take(pc.index_in(now["path"], then["path"]))
    same = pc.and_(*(pc.equal(now[name], was[name]) for name in ("label", "fold")))
    stays = pc.and_not(pc.fill_null(same, False), pc.is_in(now["path"], dropped))
    stay, new = now.filter(stays), now.filter(pc.invert(stays))
    old = then.filter(pc.invert(pc.is_in(then["path"], stay["path"])))
    without = pa.array([False] * old.num_rows, pa.bool_())
    return stay, new, _signed(old.append_column("scored", without), SUBTRACT)


@dataclass(frozen=True)
class TaskResult:
    """The results of one task.

    Attributes:
        prefix: The common prefix of the locations of the results.
        measured: The pairs of sign and fold that have moments.
        samples: The folds that have rows to score.
        width: The number of features; 0 if there were no rows.
    """

    prefix: Location
    measured: list[tuple[int, int]]
    samples: list[int]
    width: int

    def moments(self, sign: int, fold: int, transform: str) -> list[Location]:
        """The file with the moments of a sign and a fold: one, or none."""
        file = fold_moments(self.prefix.extended(f".{sign}"), fold, transform)
        return [file] if (sign, fold) in self.measured else []

    def sample(self, fold: int) -> list[Location]:
        """The file with the rows to score of a fold, ``path`` and ``features``: one, or none."""
        return [_sample_file(self.prefix, fold)] if fold in self.samples else []


def measure_files(
    files: Sequence[Location],
    entries: Sequence[Location],
    prefix: Location,
    transforms: Sequence[str],
) -> TaskResult:
    """Measures files of features, see `measure_rows`.

    Args:
        files: the files of features.
        entries: files of :data:`ENTRIES` with a column ``file``: those of `files`, and others.
        prefix: the common prefix of the locations of the results.
        transforms: the transforms of the features to measure.
    """
    names = pa.array([file.name for file in files])
    tables = [read_rows(place, [*ENTRIES.names, "file"]) for place in entries]
    own = pa.concat_tables(some.filter(pc.is_in(some["file"], names)) for some in tables)
    # Reads all rows: filtering each file by path would be slower the more rows are needed.
    rows = pa.concat_tables(read_rows(file, ["path", "features"]) for file in files)
    return measure_rows(rows, own.select(ENTRIES.names), prefix, transforms)


def measure_dropped(
    file: Location,
    rows: NDArray[np.int64],
    entries: pa.Table,
    prefix: Location,
    transforms: Sequence[str],
) -> TaskResult:
    """Like :func:`measure_rows`, for the rows of a file of :meth:`KeptFolds.gone`."""
    found = read_rows(file, ["path", "features"]).take(rows)
    return measure_rows(found, entries, prefix, transforms)


def measure_rows(
    rows: pa.Table, entries: pa.Table, prefix: Location, transforms: Sequence[str]
) -> TaskResult:
    """Writes the moments of each sign and fold, and the rows to score of each fold.

    Args:
        rows: a table with ``path`` and ``features``.
        entries: :data:`ENTRIES` for these rows, and for others.
        prefix: the common prefix of the locations of the results.
        transforms: the transforms of the features to measure.
    """
    at = pc.index_in(entries["path"], rows["path"])
    own = entries.append_column("at", at).filter(pc.is_valid(at))
    x = matrix(rows["features"].combine_chunks())
    row, sign, fold, scored = (own[name].to_numpy() for name in ("at", "sign", "fold", "scored"))
    pairs = zip(sign[sign != SCORE].tolist(), fold[sign != SCORE].tolist(), strict=True)
    part = TaskResult(prefix, sorted(set(pairs)), np.unique(fold[scored]).tolist(), x.shape[1])
    for of_sign, of_fold in part.measured:
        some = np.flatnonzero((sign == of_sign) & (fold == of_fold))
        labels = own["label"].take(some).to_pylist()
        for transform in transforms:
            moments = Moments.of(transform_features(x[row[some]], transform), labels)
            replace(part.moments(of_sign, of_fold, transform)[0], moments.to_bytes())
    for of_fold in part.samples:
        sample = row[scored & (fold == of_fold)]
        columns = {"path": rows["path"].take(sample), "features": lists(x[sample])}
        write_rows(_sample_file(prefix, of_fold), pa.table(columns))
    return part


@dataclass(frozen=True)
class Merge:
    """Files of moments to add and to subtract, and the location of the result."""

    added: list[Location]
    subtracted: list[Location]
    target: Location

    def run(self) -> bool:
        """Writes the result; False if stored files are missing, damaged or of other rows."""
        return try_merge(self.added, self.target, self.subtracted)


def plan_merges(
    parts: Sequence[TaskResult],
    changes: Changes,
    folds: Set[int],
    prefix: Location,
    transforms: Sequence[str],
) -> dict[tuple[int, str], Merge]:
    """The merges that make the moments of each fold and transform, including stored folds."""
    kept, before = changes.kept, changes.kept_folds
    found = {}
    for fold in sorted(before | folds):
        for transform in transforms:
            had = [fold_moments(kept.prefix, fold, transform)] if kept and fold in before else []
            added, subtracted = (
                [file for part in parts for file in part.moments(sign, fold, transform)]
                for sign in (ADD, SUBTRACT)
            )
            target = fold_moments(prefix, fold, transform)
            found[fold, transform] = Merge(had + added, subtracted, target)
    return found


def _signed(images: pa.Table, sign: int) -> pa.Table:
    return images.append_column("sign", pa.array([sign] * images.num_rows, pa.int64()))


def _sample_file(prefix: Location, fold: int) -> Location:
    return prefix.extended(f"-{fold}.parquet")
