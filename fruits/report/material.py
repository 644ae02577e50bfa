"""What the page of a run is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.classify.review import Confusion
from fruits.classify.rows import PREDICTIONS

IMAGES = pa.schema([field for field in PREDICTIONS if field.name != "top5"])
"""Of the images on the map; the last four are null where there is no classifier."""

REJECTED = pa.schema([("path", pa.string()), ("label", pa.string()), ("error", pa.string())])


@dataclass(frozen=True, eq=False)
class Plane:
    """Two axes in which images are drawn.

    Attributes:
        name: of the choice, such as "Principal components".
        titles: of the two axes.
        points: (n, 2) float32, of the images.
    """

    name: str
    titles: tuple[str, str]
    points: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Material:
    """What the page shows; only the first four have to be there.

    Attributes:
        run: the content of run.json.
        written: when the run ended.
        images: those on the map, n rows of :data:`IMAGES`.
        total: how many images have features; more than n where the map shows some of them.
        planes: at least one where there are images.
        vectors: (n, k) float32, the leading components, by which neighbours are found.
        thumbnails: JPEG files by the path of the image, written by
            :func:`fruits.sources.thumbnail.thumbnail`; images may lack one.
        order: labels, those that are alike next to each other, for the confusion matrix.
        confusions: the worst ones of the first evaluation.
        quality: tables of :data:`fruits.quality.findings.SCHEMA` by the names of their files, such
            as "duplicate".
        rejected: images that could not be used, rows of :data:`REJECTED`.
        static_map: PNG picture of the first two components, for paper and for browsers without
            JavaScript; None where there is none.
    """

    run: Mapping[str, Any]
    written: datetime
    images: pa.Table
    total: int
    planes: Sequence[Plane] = ()
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    order: Sequence[str] = ()
    confusions: Sequence[Confusion] = ()
    quality: Mapping[str, pa.Table] = field(default_factory=dict)
    rejected: pa.Table = field(default_factory=REJECTED.empty_table)
    static_map: bytes | None = None
