"""What a cross-validation has to measure, where moments of its folds are kept from before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.classify.model import mapped
from fruits.features.kept_folds import KeptFolds, moments_uri
from fruits.features.moments import Moments
from fruits.features.moments_file import merge_files
from fruits.features.rows import lists, matrix, read_rows, write_rows
from fruits.storage.files import replace

ADD, SUBTRACT, SCORE = 1, -1, 0
"""What to do with a row: add its moments, subtract them, or only score it."""


@dataclass(frozen=True)
class Changes:
    """What is to be measured, and what is known.

    Attributes:
        images: all that count: ``path``, ``label``, ``fold``, and ``scored``, a boolean.
        rows: what to do with rows of the table: the same columns, and ``sign``, one of `ADD`,
            `SUBTRACT` and `SCORE`. An image that changes its fold is in it twice.
        gone: what to do with rows that were dropped from the table.
        kept: the moments of the other images; None where there are none.
    """

    images: pa.Table
    rows: pa.Table
    gone: pa.Table
    kept: KeptFolds | None

    @property
    def count(self) -> int:
        """How many rows have to be measured."""
        return int(np.count_nonzero(self.rows["sign"].to_numpy())) + int(self.gone.num_rows)

    @classmethod
    def all_of(cls, images: pa.Table) -> Changes:
        """Nothing is known."""
        rows = _signed(images, ADD)
        return cls(images, rows, rows.slice(0, 0), None)

    @classmethod
    def since(cls, kept: KeptFolds, images: pa.Table, transforms: Sequence[str]) -> Changes | None:
        """What has changed; None if measuring all images again is less work."""
        if kept.transforms != tuple(transforms):
            return None
        before, dropped = kept.images, kept.gone(["path"])["path"]
        then = before.take(pc.index_in(images["path"], before["path"]))
        same = pc.and_(*(pc.equal(images[name], then[name]) for name in ("label", "fold")))
        stays = pc.and_not(pc.fill_null(same, False), pc.is_in(images["path"], dropped))
        stay, new = images.filter(stays), images.filter(pc.invert(stays))
        old = before.filter(pc.invert(pc.is_in(before["path"], stay["path"])))
        if 2 * (new.num_rows + old.num_rows) > images.num_rows:
            return None
        old = _signed(
            old.append_column("scored", pa.array([False] * old.num_rows, pa.bool_())), SUBTRACT
        )
        lost = pc.is_in(old["path"], dropped)
        rows = [_signed(stay.filter(stay["scored"]), SCORE), _signed(new, ADD)]
        rows.append(old.filter(pc.invert(lost)))
        return cls(images, pa.concat_tables(rows), old.filter(lost), kept)


@dataclass(frozen=True)
class Part:
    """What was measured at once.

    Attributes:
        prefix: with which the URIs of the results begin.
        measured: the signs and folds of which there are moments.
        samples: the folds of which there are rows to score.
        width: of the features; 0 if there were none.
    """

    prefix: str
    measured: list[tuple[int, int]]
    samples: list[int]
    width: int

    def moments(self, sign: int, fold: int, transform: str) -> list[str]:
        """URIs of the moments of one sign and fold: one, or none."""
        uri = moments_uri(f"{self.prefix}.{sign}", fold, transform)
        return [uri] if (sign, fold) in self.measured else []

    def sample(self, fold: int) -> list[str]:
        """URIs of the rows to score of one fold, ``path`` and ``features``: one, or none."""
        return [_sample_uri(self.prefix, fold)] if fold in self.samples else []


def measure_files(
    files: Iterable[str], entries: pa.Table, prefix: str, transforms: Sequence[str]
) -> Part:
    """Measures files of features, see `measure_rows`."""
    tables = [read_rows(file, ["path", "features"], entries["path"]) for file in files]
    return measure_rows(pa.concat_tables(tables), entries, prefix, transforms)


def measure_rows(rows: pa.Table, entries: pa.Table, prefix: str, transforms: Sequence[str]) -> Part:
    """Writes the moments of each sign and fold, and the rows to score of each fold.

    Args:
        rows: ``path`` and ``features``.
        entries: what to do with them, and with others, as in `Changes.rows`.
        prefix: with which the URIs of the results begin.
        transforms: of the features.
    """
    at = pc.index_in(entries["path"], rows["path"])
    own = entries.append_column("at", at).filter(pc.is_valid(at))
    x = matrix(rows["features"].combine_chunks())
    row, sign, fold, scored = (own[name].to_numpy() for name in ("at", "sign", "fold", "scored"))
    pairs = zip(sign[sign != SCORE].tolist(), fold[sign != SCORE].tolist(), strict=True)
    part = Part(prefix, sorted(set(pairs)), np.unique(fold[scored]).tolist(), x.shape[1])
    for of_sign, of_fold in part.measured:
        some = np.flatnonzero((sign == of_sign) & (fold == of_fold))
        labels = own["label"].take(some).to_pylist()
        for transform in transforms:
            moments = Moments.of(mapped(x[row[some]], transform), labels)
            replace(part.moments(of_sign, of_fold, transform)[0], moments.to_bytes())
    for of_fold in part.samples:
        sample = row[scored & (fold == of_fold)]
        columns = {"path": rows["path"].take(sample), "features": lists(x[sample])}
        write_rows(_sample_uri(prefix, of_fold), pa.table(columns))
    return part


def read_samples(uris: Sequence[str]) -> NDArray[np.floating[Any]]:
    """The features to score, in the order of their paths."""
    tables = [read_rows(uri, ["path", "features"]) for uri in uris]
    return matrix(pa.concat_tables(tables).sort_by("path")["features"].combine_chunks())


@dataclass(frozen=True)
class Merge:
    """Files of moments that are added up, others that are subtracted, and where the result goes."""

    added: list[str]
    subtracted: list[str]
    target: str

    def run(self) -> bool:
        """Writes the result; False if there is none: what was kept is damaged, or of other rows."""
        try:
            merge_files(self.added, self.target, self.subtracted)
        except (FileNotFoundError, ValueError):
            return False
        return True


def merges(
    parts: Sequence[Part], changes: Changes, prefix: str, transforms: Sequence[str]
) -> dict[tuple[int, str], Merge]:
    """What makes the moments of each fold and transform."""
    kept = changes.kept
    before = set(kept.images["fold"].to_pylist()) if kept else set()
    found = {}
    for fold in sorted(before | set(changes.images["fold"].to_pylist())):
        for transform in transforms:
            had = [moments_uri(kept.prefix, fold, transform)] if kept and fold in before else []
            added, subtracted = (
                [uri for part in parts for uri in part.moments(sign, fold, transform)]
                for sign in (ADD, SUBTRACT)
            )
            target = moments_uri(prefix, fold, transform)
            found[fold, transform] = Merge(had + added, subtracted, target)
    return found


def _signed(images: pa.Table, sign: int) -> pa.Table:
    return images.append_column("sign", pa.array([sign] * images.num_rows, pa.int64()))


def _sample_uri(prefix: str, fold: int) -> str:
    return f"{prefix}-{fold}.parquet"
