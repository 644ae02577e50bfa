"""Chooses a transform and the shrinkages by cross-validation, from moments and scored features.

The model without a fold is fitted to the moments of all images minus those of the fold, which is
exactly the same as fitting it to the other images. Features are read only for scoring, and a sample
of each fold is enough.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.classify.blocks import row_blocks
from fruits.classify.calibrate import calibrated_loss, fit_threshold
from fruits.classify.fit import SHRINKAGES, Discriminant, Measured
from fruits.classify.model import Array, Ints, label_indices
from fruits.errors import InputError

THREADS = 4
"""The most models that are fitted in parallel; each needs five (d, d) matrices."""

_LOSS_DIGITS = 9
"""The digits of log losses that are compared; the others may be rounding errors."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Images that are held out together.

    Attributes:
        moments: The moments of all images of the fold, for each transform.
        features: A function that returns the untransformed features of the n scored images,
            (n, d) float32. It is called twice for each transform, so that the features of all folds
            are never in memory together.
        labels: The n labels of the scored images.
        paths: The n paths of the scored images, to identify predictions; may be empty.
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


@dataclass(frozen=True, eq=False)
class Choice:
    """The result of the choice.

    Attributes:
        trials: All trials.
        best: The trial with the most correct labels; if several are equal, that with the smallest
            log loss of the true against the most probable other label, with the best temperature
            for each trial; if these are equal, too, that with the largest shrinkage.
        distance_shrinkage: The shrinkage for the distances, which decide whether an image is
            unknown.
        models: For each fold, the model without it, with the best transform.
    """

    trials: list[Trial]
    best: Trial
    distance_shrinkage: float
    models: list[Discriminant]


def choose(moments: Mapping[str, Measured], folds: Sequence[Fold]) -> Choice:
    """Chooses a transform and the shrinkages.

    A transform that makes all images equal is skipped: "sqrt-l2" removes the length, which may be
    the only difference.

    Raises:
        InputError: all images have the same features.
    """
    tested = sum(len(fold.labels) for fold in folds)
    trials: list[Trial] = []
    best, kept, chosen = (math.inf, math.inf, 0.0), 0, list[_FoldScores]()
    same: InputError | None = None
    # LAPACK uses one core for most of a decomposition.
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for transform, scored in _scores_of_folds(pool, moments, folds):
            try:
                tried = [one.result() for one in scored]
            except InputError as error:
                same = error
                continue
            right = np.sum([one.right for one in tried], axis=0)
            margins = np.concatenate([one.margin for one in tried], axis=1)
            for number, shrinkage in enumerate(SHRINKAGES):
                trials.append(Trial(transform, shrinkage, float(right[number]) / tested))
                if -int(right[number]) > best[0]:
                    continue  # Its loss is not needed, which takes time.
                loss = round(calibrated_loss(margins[number]), _LOSS_DIGITS)
                rank = (-int(right[number]), loss, -shrinkage)
                if rank < best:
                    best, kept, chosen = rank, len(trials) - 1, tried
    if same and not trials:
        raise same
    best_trial = trials[kept]
    distance_shrinkage = _distance_shrinkage(chosen, best_trial.shrinkage)
    return Choice(trials, best_trial, distance_shrinkage, [one.model for one in chosen])


def _scores_of_folds(
    pool: ThreadPoolExecutor, moments: Mapping[str, Measured], folds: Sequence[Fold]
) -> Iterator[tuple[str, list[Future[_FoldScores]]]]:
    """Scores all folds with each transform; no thread waits for the last fold of a transform."""
    waiting = [
        (transform, [pool.submit(_score_fold, total, transform, fold) for fold in folds])
        for transform, total in moments.items()
    ]
    scored: list[Future[_FoldScores]] = []
    try:
        while waiting:
            transform, scored = waiting.pop(0)  # The models of the last transform are freed.
            yield transform, scored
    finally:
        for one in itertools.chain(scored, *(left for _, left in waiting)):
            one.cancel()


def _distance_shrinkage(tried: Sequence[_FoldScores], otherwise: float) -> float:
    """The shrinkage whose distances detect images of unknown labels best.

    An image simulates an unknown label if the mean of its own label is left out. The threshold is
    set so that few known images are reported as unknown; then the shrinkage that detects the most
    simulated images wins; if several are equal, the largest.
    """
    known = np.concatenate([one.nearest for one in tried], axis=1)
    unknown = np.concatenate([one.nearest_other for one in tried], axis=1)
    if not known.shape[1]:
        return otherwise
    found = [
        (np.count_nonzero(others > fit_threshold(own)), shrinkage)
        for own, others, shrinkage in zip(known, unknown, SHRINKAGES, strict=True)
    ]
    most, best = max(found)
    return best if most else otherwise


@dataclass(frozen=True, eq=False)
class _FoldScores:
    """A model without a fold, and its results for the fold's images with each of s shrinkages.

    Attributes:
        model: The model.
        right: (s,) the number of images with the correct label.
        margin: (s, m) the logit of the true label minus the largest other logit, of the m images
            whose label the model knows.
        nearest: (s, m) the squared distance of these images to the nearest mean of a label.
        nearest_other: (s, m) their squared distance to the nearest mean of another label.
    """

    model: Discriminant
    right: Ints
    margin: Array
    nearest: Array
    nearest_other: Array


def _score_fold(total: Measured, transform: str, fold: Fold) -> _FoldScores:
    model = Discriminant.of(total.subtract(fold.moments[transform]))
    truth = label_indices(model.labels, fold.labels)
    known, prior = np.flatnonzero(truth >= 0), model.prior
    right = np.zeros(len(SHRINKAGES), np.int64)
    margin, nearest, nearest_other = np.empty((3, len(SHRINKAGES), len(known)))
    scores = model.scores(fold.features(), transform, SHRINKAGES)
    ahead, highest, highest_other = np.empty((3, len(truth)))
    for number, (likelihoods, lengths) in enumerate(scores):
        for rows in row_blocks(*likelihoods.shape):
            some, own = likelihoods[rows], (np.arange(len(truth[rows])), truth[rows])
            logits = some + prior
            right[number] += np.count_nonzero(logits.argmax(axis=1) == truth[rows])
            ahead[rows] = logits[own]
            logits[own] = -math.inf
            ahead[rows] -= logits.max(axis=1)
            highest[rows] = some.max(axis=1)
            some[own] = -math.inf
            highest_other[rows] = some.max(axis=1)
        margin[number] = ahead[known]
        # The highest likelihood is that of the nearest mean.
        nearest[number] = (lengths - 2 * highest)[known]
        nearest_other[number] = (lengths - 2 * highest_other)[known]
    return _FoldScores(model, right, margin, nearest, nearest_other)
