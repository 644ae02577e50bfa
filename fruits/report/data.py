"""The data of the report of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.classify.review import Confusion
from fruits.classify.rows import PREDICTIONS

IMAGES = pa.schema([field for field in PREDICTIONS if field.name != "top5"])
"""The columns of the images on the map; the last four are null without a classifier."""

REJECTED = pa.schema([("path", pa.string()), ("label", pa.string()), ("error", pa.string())])

LISTED = 100
"""The maximum number of rejected images that the page lists."""


@dataclass(frozen=True, eq=False)
class Plane:
    """Coordinates of images on two axes.

    Attributes:
        name: The name of the plane, such as "Principal components".
        titles: The titles of the two axes.
        points: The coordinates of the n images, (n, 2) float32.
    """

    name: str
    titles: tuple[str, str]
    points: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Rejected:
    """Rejected images, of which only some are in memory.

    Attributes:
        first: The first images, rows of :data:`REJECTED`.
        reasons: The number of images for each reason.
    """

    first: pa.Table = field(default_factory=REJECTED.empty_table)
    reasons: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: Iterable[pa.RecordBatch]) -> Rejected:
        """The rejected images in batches of :data:`REJECTED`, which are read one by one."""
        first, reasons = REJECTED.empty_table(), Counter[str]()
        for batch in rows:
            reasons.update(batch["error"].to_pylist())
            some = pa.Table.from_batches([batch.slice(0, LISTED - first.num_rows)], REJECTED)
            first = pa.concat_tables([first, some])
        return cls(first, reasons)

    @property
    def count(self) -> int:
        """The number of rejected images."""
        return self.reasons.total()


@dataclass(frozen=True, eq=False)
class ReportData:
    """The data of the report. Only the first four attributes are required.

    Attributes:
        run: The content of run.json.
        written: The time when the run ended.
        images: The n images on the map, rows of :data:`IMAGES`.
        total: The number of images with features. It is larger than n if the map is a sample.
        planes: The planes of the map, at least one if there are images.
        vectors: The leading components, (n, k) float32, with which neighbours are found.
        thumbnails: The thumbnails as JPEG files by the path of the image, written by
            :func:`fruits.images.thumbnail.thumbnail`. Some may be missing.
        order: The labels for the confusion matrix, with similar ones next to each other.
        confusions: The worst confusions of the first evaluation.
        quality: The tables of findings (:data:`fruits.quality.findings.SCHEMA`) by kind.
        rejected: The rejected images.
        static_map: A PNG picture of the first two components, for printing and for browsers
            without JavaScript; None if there is none.
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
    rejected: Rejected = field(default_factory=Rejected)
    static_map: bytes | None = None

    def without_labels(self) -> ReportData:
        """The same data, with images on the map that have no labels."""
        place, label = IMAGES.get_field_index("label"), IMAGES.field("label")
        nulls = pa.nulls(self.images.num_rows, label.type)
        return replace(self, images=self.images.set_column(place, label, nulls))
