"""Choose a transform and a shrinkage by cross-validation, from moments and features to score.

The model without a fold is fitted to the moments of all images minus those of the fold: exactly
what fitting it to the other images would give. Features are read to be scored only, and a sample of
each fold will do.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.classify.fit import SHRINKAGES, Discriminant, Measured
from fruits.classify.model import Array, Ints, places_of, softmax

THREADS = 4
"""Models that are fitted at a time at most; each takes five (d, d) matrices."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Images that are held out together.

    Attributes:
        moments: of all of them, for each transform that is tried.
        features: gives (n, d) float32 of those to score, as the network made them; it is called
            twice for each transform, so that not all features need be in memory.
        labels: their n labels.
        paths: their n paths, for those who look at what was predicted; they may be left out.
    """

    moments: Mapping[str, Measured]
    features: Callable[[], NDArray[np.floating[Any]]]
    labels: Sequence[str]
    paths: Sequence[str] = ()


@dataclass(frozen=True)
class Trial:
    """The accuracy of one choice, over all folds."""

    transform: str
    shrinkage: float
    accuracy: float


def choose(
    moments: Mapping[str, Measured], folds: Sequence[Fold]
) -> tuple[list[Trial], Trial, list[Discriminant]]:
    """The choice with the most right labels; of equal ones that with the smaller log loss.

    Returns:
        All trials, the best one, and the models of its transform without each of the folds.
    """
    tested = sum(len(fold.labels) for fold in folds)
    trials: list[Trial] = []
    best, kept, models = (math.inf, math.inf), 0, []
    # LAPACK uses one core for most of a decomposition.
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for transform, total in moments.items():
            tried = list(pool.map(partial(_try, total, transform), folds))
            right = np.sum([one.right for one in tried], axis=0)
            loss = np.sum([one.loss for one in tried], axis=0)
            for number, shrinkage in enumerate(SHRINKAGES):
                rank = (-int(right[number]), float(loss[number]))
                if rank < best:
                    best, kept, models = rank, len(trials), [one.model for one in tried]
                trials.append(Trial(transform, shrinkage, float(right[number]) / tested))
    return trials, trials[kept], models


@dataclass(frozen=True, eq=False)
class _Tried:
    """A model without a fold; and of the fold's images, for each shrinkage, right ones and loss."""

    model: Discriminant
    right: Ints
    loss: Array


def _try(total: Measured, transform: str, fold: Fold) -> _Tried:
    model = Discriminant.of(total.subtract(fold.moments[transform]))
    truth = places_of(model.labels, fold.labels)
    known = np.flatnonzero(truth >= 0)
    right, loss = np.zeros(len(SHRINKAGES), np.int64), np.zeros(len(SHRINKAGES))
    for number, logits in enumerate(model.logits(fold.features(), transform, SHRINKAGES)):
        right[number] = np.count_nonzero(logits.argmax(axis=1) == truth)
        likelihood = softmax(logits[known])[np.arange(len(known)), truth[known]]
        loss[number] = -np.log(likelihood.clip(min=1e-300)).sum()
    return _Tried(model, right, loss)
