"""Compares the linear discriminant analysis with other classifiers from moments.

    python -m benchmarks.variants --images DIR

The folder contains Training and Test, and in them folders of varieties, such as ``Apple Golden 2``.
The first word is the kind of fruit. There are two tasks, and cross-validation by groups on training
images makes all choices. The first task is the variety: the groups are films, and the test images
are those of Test. The second task is the kind of unknown varieties: the groups are varieties, and
some of them are left out for the test.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.classify import extracted
from benchmarks.inputs import DATA, ROOT
from benchmarks.report import Row, table, write_json
from fruits.classify.fit import SHRINKAGES, Discriminant
from fruits.classify.groups import TRAIN_ONLY, assign_folds, group_images
from fruits.classify.transforms import TRANSFORMS, transform_features
from fruits.features.moments import Moments

Array = NDArray[np.float64]
Names = NDArray[np.str_]
Map = Callable[[Array], Array]

PARTS = 3
"""The parts of the varieties; each part is left out once."""


def main() -> None:
    options = _options()
    x, varieties, sides, paths = extracted(options.images)
    kinds = np.array([name.split()[0] for name in varieties])
    training = sides == "train"
    films = np.array(paths, object)
    rows_of = np.flatnonzero(training)
    films[training] = group_images([paths[n] for n in rows_of], varieties[training].tolist()).names
    inputs = {
        name: _reduced(transform_features(x, name), options.components) for name in TRANSFORMS
    }
    rows: list[Row] = []
    for name, variant in VARIANTS.items():
        split = [(training, ~training)]
        part_of = assign_folds(varieties.tolist(), kinds.tolist(), PARTS)
        unseen = [(part_of != part, part_of == part) for part in range(PARTS)]
        row: Row = {"variant": name}
        row |= {"varieties": _tested(variant, inputs, varieties, films, split)}
        row |= {"kinds": _tested(variant, inputs, kinds, varieties, unseen)}
        print(row, flush=True)
        rows.append(row)
    heads = ["", "varieties, grouped", "varieties, split", "kinds, grouped", "kinds, unseen"]
    lines = [[row["variant"], *row["varieties"], *row["kinds"]] for row in rows]
    print("\n" + table(lines, heads))
    write_json(rows, DATA / "variants.json")


class Plain:
    """Features as they are, or transformed; one mean per label; shrinkage towards the identity."""

    def __init__(self, mapping: Callable[[Array], Map] = lambda x: lambda z: z) -> None:
        self.mapping = mapping

    def fit(self, x: Array, labels: Names, groups: Names) -> Callable[[Array], list[Names]]:
        """Fits; returns a function that predicts with each shrinkage."""
        mapping = self.mapping(x)
        classes, owners = self.classes(labels, groups)
        model = Discriminant.of(Moments.of(mapping(x), classes.tolist()))
        every = np.unique(labels)
        owner = np.array([every.tolist().index(owners[one]) for one in model.labels])

        def predict(z: Array) -> list[Names]:
            found = []
            for likelihoods, _ in model.scores(mapping(z), "none", SHRINKAGES):
                logits = likelihoods + model.prior
                scores = np.exp(logits - logits.max(axis=1, keepdims=True))
                sums = np.stack([scores[:, owner == n].sum(axis=1) for n in range(len(every))])
                found.append(every[sums.argmax(axis=0)])
            return found

        return predict

    def classes(self, labels: Names, groups: Names) -> tuple[Names, dict[str, str]]:
        """The class of each image, and the label of each class."""
        return labels, {label: label for label in labels.tolist()}


class SubLabels(Plain):
    """Each group is a separate class; the probability of a label is the sum over its groups."""

    def classes(self, labels: Names, groups: Names) -> tuple[Names, dict[str, str]]:
        names = np.array([f"{a}\t{b}" for a, b in zip(labels, groups, strict=True)])
        return names, dict(zip(names.tolist(), labels.tolist(), strict=True))


def _scaled(x: Array) -> Map:
    """Scales all features to the same variance, so that the shrinkage is towards a diagonal."""
    spread = x.std(axis=0)
    scale = 1 / np.maximum(spread, 0.05 * spread.max())
    return lambda z: z * scale


def _random(x: Array) -> Map:
    """Replaces the features by the same number of random ones, with negative values set to 0."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((x.shape[1], x.shape[1])) / np.sqrt((x**2).sum(axis=1).mean())
    offset = rng.uniform(-1, 1, x.shape[1])
    return lambda z: np.maximum(z @ weights + offset, 0)


def _unit(x: Array) -> Map:
    """Divides the features of each image by their length."""
    return lambda z: z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


VARIANTS: dict[str, Plain] = {
    "as it is": Plain(),
    "groups as sub-labels": SubLabels(),
    "shrinkage to a diagonal": Plain(_scaled),
    "random features": Plain(_random),
    "features of unit length": Plain(_unit),
}


def _reduced(x: NDArray[np.floating[Any]], components: int) -> Array:
    """The first principal components, so that hundreds of fits take a minute."""
    centred = x.astype(np.float64) - x.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    reduced: Array = centred @ axes[:, : -components - 1 : -1]
    return reduced


def _tested(
    variant: Plain,
    inputs: dict[str, Array],
    labels: Names,
    groups: Names,
    sides: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
) -> list[float]:
    """The accuracy with the chosen shrinkage: in the cross-validation, and in the test."""
    inner, right, tested = [], 0, 0
    for training, test in sides:
        scores = {
            name: _validated(variant, x[training], labels[training], groups[training])
            for name, x in inputs.items()
        }
        transform = max(scores, key=lambda name: scores[name].max())
        inner.append(float(scores[transform].max()))
        z = inputs[transform]
        predict = variant.fit(z[training], labels[training], groups[training])
        found = predict(z[test])[int(scores[transform].argmax())]
        right, tested = right + int((found == labels[test]).sum()), tested + int(test.sum())
    return [float(np.mean(inner)), right / tested]


def _validated(variant: Plain, x: Array, labels: Names, groups: Names) -> Array:
    """The accuracy of each shrinkage in a cross-validation by groups."""
    fold_of = assign_folds(groups.tolist(), labels.tolist(), PARTS)
    right = np.zeros(len(SHRINKAGES))
    for fold in range(PARTS):
        held = fold_of == fold
        predict = variant.fit(x[~held], labels[~held], groups[~held])
        right += [(found == labels[held]).sum() for found in predict(x[held])]
    accuracy: Array = right / np.count_nonzero(fold_of != TRAIN_ONLY)
    return accuracy


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.variants", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder with Training and Test")
    parser.add_argument(
        "--components", type=int, default=256, help="number of features for the fits"
    )
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
