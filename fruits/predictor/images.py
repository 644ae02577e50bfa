"""The labelled training images of a predictor; the nearest ones are shown with a prediction."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fruits.predictor.files import Folder
from fruits.predictor.neighbours import Neighbours


@dataclass(frozen=True)
class Neighbour:
    """A nearby training image.

    Attributes:
        path: The path of the image in the run.
        label: The label of the image.
        distance: The Euclidean distance between the components.
        thumbnail: A JPEG thumbnail, or None if the run has none.
    """

    path: str
    label: str
    distance: float
    thumbnail: bytes | None


class TrainingImages:
    """The training images: their components, names and thumbnails.

    Args:
        rows: (n, k) float32, their components.
        names: the names of the rows, with columns of :data:`fruits.predictor.write_images.NAMES`.
        thumbnails: the descriptor of an open file, which this object closes at its end.
    """

    def __init__(self, rows: NDArray[np.float32], names: pa.Table, thumbnails: int) -> None:
        # Not with to_numpy, which imports pandas.
        _, norms = names["norm"].combine_chunks().buffers()
        self._neighbours = Neighbours(rows, np.frombuffer(norms or b"", np.float64, len(rows)))
        self._names = names.drop_columns(["norm"])
        self._thumbnails = thumbnails

    @classmethod
    def read(cls, folder: Folder) -> TrainingImages:
        """Reads and verifies the training images of a predictor's folder.

        Raises:
            OutputError: a file is missing or damaged.
        """
        rows = _matrix(folder)
        names = _names(folder, len(rows))
        return cls(rows, names, os.open(folder.verified_path("thumbnails.bin"), os.O_RDONLY))

    def __del__(self) -> None:
        os.close(self._thumbnails)

    @property
    def are_many(self) -> bool:
        """Whether a search should use all threads, because it reads 256 MB or more."""
        return self._neighbours.rows.nbytes >= 2**28

    def nearest(self, components: NDArray[np.float32]) -> Iterator[tuple[Neighbour, ...]]:
        """Yields the nearest images of each row of (m, k) components, the nearest first."""
        for places, distances in self._neighbours.nearest(components):
            yield tuple(map(self._neighbour, places.tolist(), distances.tolist()))

    def _neighbour(self, place: int, distance: float) -> Neighbour:
        # Not with Table.take, which imports all functions of Arrow.
        path, label, offset, length = (column[place].as_py() for column in self._names.columns)
        picture = None if offset is None else os.pread(self._thumbnails, length, offset)
        return Neighbour(path, label, distance, picture)


def _matrix(folder: Folder) -> NDArray[np.float32]:
    path = folder.verified_path("neighbours.npy")
    wanted = (folder.manifest.get("neighbours"), folder.manifest.get("components"))
    try:
        rows: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        if rows.dtype != np.float32 or rows.shape != wanted:
            raise ValueError(f"wanted float32 {wanted}; got {rows.dtype} {rows.shape}")
    except (ValueError, EOFError) as error:
        raise folder.damaged(path.name, error) from error
    return rows


def _names(folder: Folder, count: int) -> pa.Table:
    path = folder.verified_path("neighbours.parquet")
    columns = ["path", "label", "norm", "thumbnail_offset", "thumbnail_length"]
    try:
        # Not read_table, which imports modules for datasets in a quarter of a second.
        # Threads would keep some of the memory that they decode in.
        with pq.ParquetFile(path, read_dictionary=["label"]) as file:
            names = file.read(columns, use_threads=False).combine_chunks()
        if names.num_rows != count or names["norm"].null_count:
            raise ValueError(f"wanted {count:,} rows with lengths; got {names.num_rows:,}")
    except (ValueError, KeyError, OSError) as error:  # These include Arrow's errors.
        raise folder.damaged(path.name, error) from error
    return names
