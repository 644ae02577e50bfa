"""Writes the training images of a predictor: components, names and thumbnails.

Rows are streamed. For each content, only 21 bytes are in memory: a key, and the position of its
thumbnail.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from fruits.features.digest_keys import Keys, index_in, keys_of, merged_keys, unique_keys
from fruits.features.rows import matrix

NAMES = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("sha256", pa.string()),
        ("norm", pa.float64()),
        ("thumbnail_offset", pa.int64()),
        ("thumbnail_length", pa.int32()),
    ]
)
"""The columns of ``neighbours.parquet``; ``norm`` is the length of the row of components, and the
thumbnail is null if there is none."""

MOST_NEIGHBOURS = 1_000_000
"""The most training images of a predictor; a search compares with each of them."""

BATCH = 4096
"""The number of rows that are written at a time."""

_GROUP = 131_072
"""The number of rows of ``neighbours.parquet`` that are in memory together."""

_GIVEN = pa.schema([NAMES.field(number) for number in range(4)])


def write_images(
    folder: Path,
    rows: Iterable[pa.RecordBatch],
    thumbnails: Iterable[pa.RecordBatch],
    width: int,
) -> int:
    """Writes ``neighbours.npy``, ``neighbours.parquet`` and ``thumbnails.bin``.

    Args:
        folder: the folder for the files.
        rows: the images, with the columns path, label, sha256 and pca; they are read once.
        thumbnails: thumbnails of these contents, and of others, with the columns sha256 and
            thumbnail.
        width: k, the number of components.

    Returns:
        The number of rows.
    """
    with (
        tempfile.TemporaryFile() as names,
        tempfile.TemporaryFile(dir=folder) as unordered,
        (folder / "thumbnails.bin").open("wb") as file,
    ):
        keys, count = _write_components(folder / "neighbours.npy", names, rows, width)
        pictures = _write_thumbnails(unordered, thumbnails, keys)
        names.seek(0)
        with pq.ParquetWriter(
            folder / "neighbours.parquet", NAMES, use_dictionary=["label"]
        ) as writer:
            for group in _groups(names):
                # In the order of the rows, so that the files do not depend on that of the features.
                pictures.move(group["sha256"], unordered, file)
                writer.write_table(pictures.of(group))
    return count


def _write_components(
    path: Path, names: IO[bytes], rows: Iterable[pa.RecordBatch], width: int
) -> tuple[Keys, int]:
    """Writes components into a NumPy file, and names into an Arrow stream.

    Returns:
        The keys of the contents, and the number of rows.
    """
    keys, count = [], 0
    with path.open("wb") as file, pa.ipc.new_stream(names, _GIVEN) as stream:
        _write_header(file, 0, width)
        for batch in rows:
            components = matrix(batch["pca"]).astype(np.float32, copy=False).reshape(-1, width)
            components.tofile(file)
            plain = [batch[name] for name in _GIVEN.names[:-1]]
            stream.write_table(pa.table([*plain, _norms(components)], _GIVEN))
            keys.append(keys_of(batch["sha256"]))
            count += batch.num_rows
        # NumPy's header has padding for the number of rows, which is known only at the end.
        file.seek(0)
        _write_header(file, count, width)
    return unique_keys(merged_keys(keys)), count


def _groups(names: IO[bytes]) -> Iterator[pa.Table]:
    """Yields the rows of a stream in groups; at least one group, which may be empty."""
    group: list[pa.RecordBatch] = []
    with pa.ipc.open_stream(names) as stream:
        for batch in stream:
            if group and sum(map(len, group)) + len(batch) > _GROUP:
                yield pa.Table.from_batches(group, _GIVEN)
                group = []
            group.append(batch)
    yield pa.Table.from_batches(group, _GIVEN)


def _write_header(file: BinaryIO, rows: int, width: int) -> None:
    about = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    npy.write_array_header_1_0(file, about)


def _norms(components: NDArray[np.float32]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.linalg.norm(components.astype(np.float64), axis=1)
    return norms


@dataclass(frozen=True, eq=False)
class _Pictures:
    """The positions of the thumbnails of m contents in their file.

    Attributes:
        keys: (m,) uint64, the sorted keys of the contents.
        offsets: (m,) int64, the offsets of the thumbnails; -1 if there is none.
        lengths: (m,) int32, the lengths of the thumbnails.
        moved: (m,) bool, whether the thumbnails are in their last file.
    """

    keys: Keys
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int32]
    moved: NDArray[np.bool_]

    def move(self, digests: pa.ChunkedArray, source: IO[bytes], target: IO[bytes]) -> None:
        """Copies the thumbnails of some contents that are not in the last file yet."""
        for place in index_in(self.keys, digests).tolist():
            if place >= 0 and self.offsets[place] >= 0 and not self.moved[place]:
                length, offset = int(self.lengths[place]), int(self.offsets[place])
                self.offsets[place], self.moved[place] = target.tell(), True
                target.write(os.pread(source.fileno(), length, offset))

    def of(self, names: pa.Table) -> pa.Table:
        """Adds the columns of thumbnails, which gives rows of :data:`NAMES`."""
        places = index_in(self.keys, names["sha256"])
        # For missing keys, any value is taken and then masked.
        offsets, lengths = (
            self.offsets.take(places, mode="clip"),
            self.lengths.take(places, mode="clip"),
        )
        none = (places < 0) | (offsets < 0)
        names = names.append_column("thumbnail_offset", pa.array(offsets, mask=none))
        return names.append_column("thumbnail_length", pa.array(lengths, mask=none)).cast(NAMES)


def _write_thumbnails(
    file: IO[bytes], thumbnails: Iterable[pa.RecordBatch], keys: Keys
) -> _Pictures:
    """Writes one thumbnail for each content, and returns their positions."""
    offsets, lengths = np.full(len(keys), -1), np.zeros(len(keys), np.int32)
    for batch in thumbnails:
        places = index_in(keys, batch["sha256"]).tolist()
        for place, picture in zip(places, batch["thumbnail"].to_pylist(), strict=True):
            if place >= 0 and offsets[place] < 0 and picture:
                offsets[place] = file.tell()
                lengths[place] = file.write(picture)
    file.flush()
    return _Pictures(keys, offsets, lengths, np.zeros(len(keys), bool))
