"""Evaluations of random predictions."""

import numpy as np

from fruits.classify.evaluate import evaluation_of
from fruits.classify.model import softmax, top_indices
from fruits.classify.tally import Tally


def guesses(labels, images, seed=0, sure=2.0):
    """True places, and probabilities (images, labels) that are about as accurate as confident."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(images, labels))
    truth = rng.integers(0, labels, images)
    logits[np.arange(images), truth] += rng.normal(sure, 1.5, images)
    return truth, softmax(logits)


def evaluated(names, images, scheme="split", seed=0, new=0, sure=2.0):
    """An evaluation of images with these labels; the label of the first `new` images is unknown."""
    truth, chances = guesses(len(names), images, seed, sure)
    best = top_indices(chances, min(5, len(names)))
    rows = np.arange(images)
    given = ["new"] * new + [names[place] for place in truth[new:]]
    likelihood = np.where(rows < new, np.nan, chances[rows, truth])
    tally = Tally(names)
    tally.add(given, best[:, 0], chances[rows, best[:, 0]], best, likelihood, None, None)
    return evaluation_of(tally, scheme, most_frequent=names[0])
