"""The training images of the model of a finished run, which a run compares its images with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from fruits.errors import OutputError
from fruits.features.rows import FEATURES, scan
from fruits.features.table import THUMBNAILS
from fruits.predictor.files import Folder
from fruits.storage.location import Location

if TYPE_CHECKING:
    # The import takes a quarter of a second.
    import pyarrow.dataset as pads

_ROWS = pa.schema([FEATURES.field(name) for name in ("path", "label", "split", "sha256")])

_PICTURES = pa.schema(
    [("sha256", pa.string()), ("thumbnail_offset", pa.int64()), ("thumbnail_length", pa.int32())]
)

_BATCH = 4096
"""The number of thumbnails in memory."""


@dataclass(frozen=True)
class TrainedImages:
    """The images that a model was fitted to.

    They are read from the predictor of the model, which later runs copy with it. The features in
    the model's folder may be of more images, or of other ones.

    Attributes:
        names: The file ``neighbours.parquet``, which lists them.
        pictures: The file ``thumbnails.bin``.
    """

    names: Path
    pictures: Path

    @classmethod
    def of(cls, model: Location, count: int) -> TrainedImages | None:
        """The training images of a model; None if its predictor does not list all of them.

        Args:
            model: The output of the finished run.
            count: The number of training images. A predictor lists at most
                :data:`fruits.predictor.write_images.MOST_NEIGHBOURS`.

        Raises:
            StorageError: The store cannot be used.
        """
        try:
            folder = Folder.of(model / "predictor")
            if folder.manifest.get("neighbours") != count:
                return None
            names = folder.verified_path("neighbours.parquet")
            pictures = folder.verified_path("thumbnails.bin")
        except OutputError:  # There is none, or it is damaged.
            return None
        wanted = {"path", "label", *_PICTURES.names}
        return cls(names, pictures) if wanted <= {*pq.read_schema(names).names} else None

    def dataset(self) -> pads.Dataset:
        """The rows: path, label, split and sha256; the split is null."""
        return self._rows(_ROWS)

    def thumbnails(self) -> Iterator[pa.RecordBatch]:
        """Yields JPEG thumbnails with the SHA-256 of the images' contents.

        Yields:
            Batches of :data:`fruits.features.table.THUMBNAILS`.
        """
        with self.pictures.open("rb") as file:
            for batch in scan(self._rows(_PICTURES), rows=_BATCH):
                some = batch.filter(batch["thumbnail_offset"].is_valid())
                lengths = some["thumbnail_length"].to_pylist()
                offsets = some["thumbnail_offset"].to_pylist()
                places = zip(lengths, offsets, strict=True)
                found = [os.pread(file.fileno(), *place) for place in places]
                yield pa.record_batch([some["sha256"], found], THUMBNAILS)

    def _rows(self, schema: pa.Schema) -> pads.Dataset:
        import pyarrow.dataset as pads

        return pads.dataset(str(self.names), schema, format="parquet")
