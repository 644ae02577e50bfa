"""Samples the images of a cross-validation that are scored, if there are more than needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.classify.entries import IMAGES
from fruits.classify.groups import TRAIN_ONLY
from fruits.sources.parts import Parts, Read

SCORED = 20_000
"""The maximum number of images to score, in all folds together."""

SCORES = 10**8
"""The maximum number of scores: images times labels. Each takes 8 bytes."""

_HASHED = 65_536
"""The number of paths that are Python objects at the same time."""


def most_scored(labels: int) -> int:
    """The maximum number of images to score; up to so many are trained in memory, without tasks."""
    return min(SCORED, SCORES // labels)


def sample_scored(folds: Parts, most: int) -> Parts:
    """The images sorted by path, with a column that says which images are scored.

    A hash of the path decides: the sample is even, and the same for the same images.

    Args:
        folds: images with ``path`` and ``label``, strings, and ``fold``, int64, `TRAIN_ONLY` for
            images that are never tested.
        most: the number of images to score.

    Returns:
        Parts of :data:`fruits.classify.entries.IMAGES`.
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
