"""The images that a cross-validation scores, a sample if there are many, and their features."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.classify.groups import TRAIN_ONLY
from fruits.errors import OutputError
from fruits.features.rows import matrix, read_rows, write_rows
from fruits.folds.row_actions import IMAGES
from fruits.sources.parts import Parts, Read
from fruits.storage.location import Location

MOST_IMAGES = 20_000
"""The maximum number of images to score, in all folds together."""

MOST_SCORES = 10**8
"""The maximum number of scores: images times labels. Each takes 8 bytes."""

_HASHED = 65_536
"""The number of paths that are Python objects at the same time."""


def most_scored(labels: int) -> int:
    """The maximum number of images to score; up to so many are trained in memory, without tasks."""
    return min(MOST_IMAGES, MOST_SCORES // labels)


def sample_scored(folds: Parts, most: int) -> Parts:
    """The images sorted by path, with a column that says which images are scored.

    A hash of the path decides: the sample is even, and the same for the same images.

    Args:
        folds: images with ``path`` and ``label``, strings, and ``fold``, int64, `TRAIN_ONLY` for
            images that are never tested.
        most: the number of images to score.

    Returns:
        Parts of :data:`fruits.folds.row_actions.IMAGES`.
    """
    kept, numbers, before = np.empty(0, np.uint64), np.empty(0, np.int64), 0
    for part in map(_sorted, folds.reads):
        tested = np.flatnonzero(part["fold"].to_numpy() != TRAIN_ONLY)
        hashes = np.concatenate([kept, *_hashes(part["path"].take(tested))])
        places = np.concatenate([numbers, tested + before])
        best = np.argsort(hashes, kind="stable")[:most]
        kept, numbers = hashes[best], places[best]
        before += part.num_rows
    starts = np.cumsum([0, *folds.rows])
    reads = [
        partial(_with_scored, read, numbers[(numbers >= start) & (numbers < end)] - start)
        for read, start, end in zip(folds.reads, starts, starts[1:], strict=False)
    ]
    return Parts(IMAGES, folds.bounds, folds.rows, reads)


@dataclass(frozen=True)
class Sample:
    """The features to score of a fold.

    Attributes:
        files: The files with features that were read now.
        kept: The file with features that were stored earlier; None if there is none.
        paths: The sorted paths of the images.
    """

    files: list[Location]
    kept: Location | None
    paths: list[str]

    def features(self) -> NDArray[np.floating[Any]]:
        """The (n, d) features, sorted by path."""
        return matrix(self._rows()["features"].combine_chunks())

    def keep(self, target: Location) -> Sample | None:
        """Writes the features to one file.

        Returns:
            The sample that reads this file; None if stored files are missing or damaged.
        """
        if not self.paths:
            return self
        try:
            write_rows(target, self._rows())
        except (FileNotFoundError, OutputError, ValueError):
            return None
        return Sample([target], None, self.paths)

    def _rows(self) -> pa.Table:
        columns = ["path", "features"]
        tables = [read_rows(file, columns) for file in self.files]
        if self.kept is not None:
            new = pa.array([path for table in tables for path in table["path"].to_pylist()])
            old = read_rows(self.kept, columns)
            own = pc.is_in(old["path"], pa.array(self.paths, pa.string()))
            changed = pc.is_in(old["path"], new.cast(pa.string()))
            tables.append(old.filter(pc.and_not(own, changed)))
        rows = pa.concat_tables(tables).sort_by("path")
        if rows["path"].to_pylist() != self.paths:
            raise ValueError(f"wanted features of {len(self.paths):,} images; got {rows.num_rows}")
        return rows


def _sorted(read: Read) -> pa.Table:
    return read().select(["path", "label", "fold"]).sort_by("path")


def _with_scored(read: Read, places: NDArray[np.int64]) -> pa.Table:
    images = _sorted(read)
    scored = np.zeros(images.num_rows, bool)
    scored[places] = True
    return images.append_column("scored", pa.array(scored)).cast(IMAGES)


def _hashes(paths: pa.ChunkedArray) -> Iterator[NDArray[np.uint64]]:
    for start in range(0, len(paths), _HASHED):
        some = paths[start : start + _HASHED].to_pylist()
        digests = (hashlib.blake2b(path.encode(), digest_size=8).digest() for path in some)
        yield np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
