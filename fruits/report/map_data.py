"""Packs the images of the map into few bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.report.data import Plane, ReportData
from fruits.report.package import package
from fruits.report.palette import palette
from fruits.report.sections import KINDS
from fruits.report.thumbnails import Packed

VECTOR = 24
"""The number of components with which the page finds neighbours; each takes a byte."""

_MIN_SPREAD_RATIO = 0.1
"""The spreads of labels on two sides of the split are similar if their ratio is above this."""

_NONE = 0xFFFFFFFF
"""The code of a missing text."""


@dataclass(frozen=True, eq=False)
class MapData:
    """The data of the map, which :func:`fruits.report.package.package` packs with the thumbnails.

    Attributes:
        about: The description.
        arrays: The arrays by name; those of the thumbnails have no values yet.
    """

    about: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, report: ReportData, root: str) -> MapData:
        """Collects the data, except the thumbnails.

        Args:
            report: The data of the report.
            root: The common beginning of all paths, which is stored once.
        """
        images = report.images
        labels, codes = _codes(images["label"])
        predicted, guesses = _codes(images["predicted"])
        splits, sides = _codes(images["split"])
        names = sorted({*labels, *predicted})
        place = {name: number for number, name in enumerate(names)}
        shown = {
            "label": _moved(codes, labels, place),
            "predicted": _moved(guesses, predicted, place),
        }
        folders, inside, files = _paths(images["path"])
        findings, finding = _findings(report)
        vectors, scales = quantised(report.vectors[:, :VECTOR])
        about = {
            "count": images.num_rows,
            "total": report.total,
            "labels": names,
            "splits": splits,
            "findings": findings,
            "root": root,
            "folders": folders,
            "files": files,
            "labelled": bool(labels),
            "colours": palette(names, shown["label" if labels else "predicted"]),
            "planes": [_about(plane) for plane in report.planes],
            "start": start(report.planes, codes, sides),
            "scales": scales.tolist(),
            "classifier": images["predicted"].null_count != images.num_rows,
        }
        arrays: dict[str, NDArray[Any]] = {
            **{f"plane{number}": plane.points for number, plane in enumerate(report.planes)},
            **shown,
            "split": sides,
            "finding": finding,
            "folder": inside,
            "vectors": vectors,
            "offsets": np.empty(0, np.uint32),
            "sizes": np.empty(0, np.uint8),
            **_scores(images),
        }
        return cls(about, arrays)

    def packed(self, thumbnails: Packed) -> str:
        """Packs the data with the places of the thumbnails, whose bytes are not included."""
        about = {**self.about, "thumbnails": thumbnails.describe()}
        places: dict[str, NDArray[Any]] = {
            "offsets": thumbnails.offsets,
            "sizes": thumbnails.sizes,
        }
        return package(about, {**self.arrays, **places})


def start(planes: Sequence[Plane], labels: NDArray[np.uint32], sides: NDArray[np.uint32]) -> int:
    """The plane to show first: the last one, unless the spreads of the split's sides differ much.

    With fewer training images than features, a discriminant analysis maps all training images of a
    label to nearly one point, far from other images of the label.

    Args:
        planes: The planes of n images.
        labels: The codes of their labels, (n,).
        sides: The codes of their sides of the split, (n,).

    Returns:
        The index of the plane.
    """
    if len(planes) < 2:
        return 0
    points = planes[-1].points.astype(np.float64)
    spreads = [_spread(points[own], labels[own]) for own in (sides == n for n in np.unique(sides))]
    return len(planes) - 1 if min(spreads) > _MIN_SPREAD_RATIO * max(spreads) else 0


def _spread(points: NDArray[np.float64], labels: NDArray[np.uint32]) -> float:
    """The mean squared distance of images from the means of their labels."""
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(codes, column) for column in points.T], axis=1)
    return float(((points - (sums / counts[:, None])[codes]) ** 2).sum(axis=1).mean())


def _about(plane: Plane) -> Mapping[str, Any]:
    return {"name": plane.name, "titles": list(plane.titles)}


def _findings(report: ReportData) -> tuple[list[str], NDArray[np.uint32]]:
    """The kinds of findings, and for each image the index of the first kind that lists it."""
    paths = report.images["path"]
    names: list[str] = []
    codes = np.full(len(paths), _NONE, np.uint32)
    for kind in (kind for kind in KINDS if kind in report.quality):
        named = np.asarray(pc.is_in(paths, report.quality[kind]["path"].combine_chunks()))
        own = named & (codes == _NONE)
        if own.any():
            codes[own] = len(names)
            names.append(KINDS[kind][0])
    return names, codes


def _scores(images: pa.Table) -> dict[str, NDArray[Any]]:
    """The confidence, distance and unknown flag of the images; NaN without a classifier."""
    confidence, distance = (
        np.array(images[name].to_pylist(), np.float32) for name in ("confidence", "distance")
    )
    unknown = np.array(images["unknown"].fill_null(False).to_pylist(), np.uint8)
    return {"confidence": confidence, "distance": distance, "unknown": unknown}


def _codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.uint32]]:
    """The different texts, and the index of each row's text; :data:`_NONE` for null."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.cast(pa.uint32()).fill_null(_NONE)
    return encoded.dictionary.to_pylist(), np.asarray(codes)


def _moved(
    codes: NDArray[np.uint32], names: Sequence[str], place: Mapping[str, int]
) -> NDArray[np.uint32]:
    """Converts codes to the indices of the same texts in another list."""
    table = np.array([*(place[name] for name in names), _NONE], np.uint32)
    return table[np.minimum(codes, len(names))]


def _paths(paths: pa.ChunkedArray) -> tuple[list[str], NDArray[np.uint32], list[str]]:
    """The folders with their last slash, and the folder index and the name of each image."""
    parts = pc.extract_regex(paths.combine_chunks(), "(?s)^(?P<folder>.*/)?(?P<name>[^/]*)$")
    folders, inside = _codes(pa.chunked_array([parts.field("folder")]))
    return folders, inside, parts.field("name").to_pylist()


def quantised(
    vectors: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Quantises components to one byte each.

    Args:
        vectors: The components, (n, k).

    Returns:
        The bytes, (n, k) int8, and the scales, (k,). The products of both are the components with
        an error of at most half a scale.
    """
    largest = np.abs(vectors).max(axis=0, initial=0).astype(np.float64)
    scales: NDArray[np.float64] = np.where(largest > 0, largest, 1) / 127
    return np.rint(vectors / scales).astype(np.int8), scales
