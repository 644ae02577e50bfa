"""The images of the map, in as few bytes as they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.report.material import Material, Plane
from fruits.report.package import package
from fruits.report.palette import palette
from fruits.report.sections import KINDS
from fruits.report.thumbnails import Packed

VECTOR = 24
"""Components by which the page finds neighbours; each takes a byte."""

_ALIKE = 0.1
"""Spreads of labels on two sides of the split are alike, if their ratio is above this."""

_NONE = 0xFFFFFFFF
"""In place of the place of a text, where there is none."""


def map_data(material: Material, packed: Packed, root: str) -> str:
    """Packs all that the map needs but the thumbnails; see :mod:`fruits.report.package`.

    Args:
        material: what the page shows.
        packed: which images have a thumbnail.
        root: the beginning of all paths, which the page does not repeat.
    """
    images = material.images
    labels, codes = _codes(images["label"])
    predicted, guesses = _codes(images["predicted"])
    splits, sides = _codes(images["split"])
    names = sorted({*labels, *predicted})
    place = {name: number for number, name in enumerate(names)}
    shown = {"label": _moved(codes, labels, place), "predicted": _moved(guesses, predicted, place)}
    folders, inside, files = _paths(images["path"].to_pylist())
    findings, finding = _findings(material)
    vectors, scales = quantised(material.vectors[:, :VECTOR])
    about = {
        "count": images.num_rows,
        "total": material.total,
        "labels": names,
        "splits": splits,
        "findings": findings,
        "root": root,
        "folders": folders,
        "files": files,
        "colours": palette(names, shown["label"]),
        "planes": [_about(plane) for plane in material.planes],
        "start": start(material.planes, codes, sides),
        "scales": scales.tolist(),
        "classifier": images["predicted"].null_count != images.num_rows,
        "thumbnails": packed.describe(),
    }
    arrays: dict[str, NDArray[Any]] = {
        **{f"plane{number}": plane.points for number, plane in enumerate(material.planes)},
        **shown,
        "split": sides,
        "finding": finding,
        "folder": inside,
        "vectors": vectors,
        "offsets": packed.offsets,
        "sizes": packed.sizes,
        **_scores(images),
    }
    return package(about, arrays)


def start(planes: Sequence[Plane], labels: NDArray[np.uint32], sides: NDArray[np.uint32]) -> int:
    """The plane that is shown first: the last one, if it shows new images as it does others.

    Of fewer training images than features, a discriminant analysis makes points, far from where it
    puts other images of the same labels.

    Args:
        planes: of n images.
        labels: (n,) places of their labels.
        sides: (n,) places of their sides of the split.

    Returns:
        The number of the plane.
    """
    if len(planes) < 2:
        return 0
    points = planes[-1].points.astype(np.float64)
    spreads = [_spread(points[own], labels[own]) for own in (sides == n for n in np.unique(sides))]
    return len(planes) - 1 if min(spreads) > _ALIKE * max(spreads) else 0


def _spread(points: NDArray[np.float64], labels: NDArray[np.uint32]) -> float:
    """The mean squared distance of images to the means of their labels."""
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(codes, column) for column in points.T], axis=1)
    return float(((points - (sums / counts[:, None])[codes]) ** 2).sum(axis=1).mean())


def _about(plane: Plane) -> Mapping[str, Any]:
    return {"name": plane.name, "titles": list(plane.titles)}


def _findings(material: Material) -> tuple[list[str], NDArray[np.uint32]]:
    """Kinds of findings, and of each image the place of the first kind that names it."""
    paths = material.images["path"]
    names: list[str] = []
    codes = np.full(len(paths), _NONE, np.uint32)
    for name in (name for name in KINDS if name in material.quality):
        named = np.asarray(pc.is_in(paths, material.quality[name]["path"].combine_chunks()))
        own = named & (codes == _NONE)
        if own.any():
            codes[own] = len(names)
            names.append(KINDS[name][0])
    return names, codes


def _scores(images: pa.Table) -> dict[str, NDArray[Any]]:
    """What the classifier says; NaN where there is none."""
    confidence, distance = (
        np.array(images[name].to_pylist(), np.float32) for name in ("confidence", "distance")
    )
    unknown = np.array(images["unknown"].fill_null(False).to_pylist(), np.uint8)
    return {"confidence": confidence, "distance": distance, "unknown": unknown}


def _codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.uint32]]:
    """The different texts, and of each row the place of its text; :data:`_NONE` for null."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.cast(pa.uint32()).fill_null(_NONE)
    return encoded.dictionary.to_pylist(), np.asarray(codes)


def _moved(
    codes: NDArray[np.uint32], names: Sequence[str], place: Mapping[str, int]
) -> NDArray[np.uint32]:
    """The places of the same texts in another list."""
    table = np.array([*(place[name] for name in names), _NONE], np.uint32)
    return table[np.minimum(codes, len(names))]


def _paths(paths: Sequence[str]) -> tuple[list[str], NDArray[np.uint32], list[str]]:
    """The different folders with their last slash, the place of each image's, and its name."""
    splits = [path.rpartition("/") for path in paths]
    different = dict.fromkeys(above + slash for above, slash, _ in splits)
    folders = {folder: number for number, folder in enumerate(different)}
    inside = np.array([folders[above + slash] for above, slash, _ in splits], np.uint32)
    return list(folders), inside, [name for *_, name in splits]


def quantised(
    vectors: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Components in a byte each.

    Args:
        vectors: (n, k).

    Returns:
        (n, k) int8, and (k,) scales: their products are the components, less half a scale at most.
    """
    largest = np.abs(vectors).max(axis=0, initial=0).astype(np.float64)
    scales: NDArray[np.float64] = np.where(largest > 0, largest, 1) / 127
    return np.rint(vectors / scales).astype(np.int8), scales
