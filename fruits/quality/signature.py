"""Small pictures as rows of numbers, of which two are compared exactly.

A run keeps a thumbnail of each image (:mod:`fruits.sources.thumbnail`). Reduced to 16 x 16 cells of
luma and 8 x 8 of each chroma, it is what remains of a picture when it is saved again, in another
format, size or quality. The components of a network are not: in them, a JPEG file of lower quality
is as far from its original as the next frame of a film.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

Bytes = NDArray[np.uint8]

SIDE = 16
CELLS = SIDE * SIDE
"""Of luma; of both chromas together half as many."""

DECODERS = 4
"""Threads that decode thumbnails at most."""

# Steps of the nine lowest frequencies of a JPEG file of quality 75, as thumbnails are: ITU-T T.81,
# tables K.1 and K.2, halved. Cells of five pixels or more show no higher ones.
_LUMA_STEPS = (8, 6, 5, 6, 6, 7, 7, 7, 8)
_CHROMA_STEPS = (9, 9, 12, 9, 11, 13, 12, 13, 28)

# What differs between two thumbnails of one picture: either was encoded, and so was the copy.
_ENCODINGS = 3


def _noise(steps: tuple[int, ...]) -> float:
    """Root mean square of the rounding of some frequencies, in levels of a pixel, once encoded.

    A coefficient that is rounded to multiples of q is off by q / sqrt(12), and the transform of 64
    pixels is orthonormal.
    """
    return math.sqrt(sum(step * step for step in steps) / 12 / 64)


LUMA_NOISE = math.sqrt(_ENCODINGS) * _noise(_LUMA_STEPS)
CHROMA_NOISE = math.sqrt(_ENCODINGS) * _noise(_CHROMA_STEPS)
"""Two pictures that differ by no more than that (1.26 and 2.63 levels of 255) are the same one."""


@dataclass(frozen=True, eq=False)
class Signatures:
    """Of n contents.

    Attributes:
        sha256: n digests, a string array.
        luma: (n, 256) uint8.
        chroma: (n, 128) uint8.
    """

    sha256: pa.Array
    luma: Bytes
    chroma: Bytes

    @classmethod
    def of(cls, thumbnails: Iterable[pa.RecordBatch], wanted: pa.Array) -> Signatures:
        """Those of the wanted contents that have a thumbnail.

        Args:
            thumbnails: with the columns sha256 and thumbnail (JPEG, may be null).
            wanted: digests.
        """
        nothing = pa.array([], pa.string()), *_split(np.empty((0, SIDE, SIDE, 3), np.uint8))
        digests, luma, chroma = zip(nothing, *_decoded(thumbnails, wanted), strict=True)
        sha256 = pa.concat_arrays(digests)
        # A content may have several thumbnails, all alike.
        first = np.sort(np.unique(sha256.dictionary_encode().indices.to_numpy(), True)[1])
        rows = np.concatenate(luma), np.concatenate(chroma)
        if len(first) == len(sha256):
            return cls(sha256, *rows)
        return cls(sha256.take(pa.array(first)), *(each[first] for each in rows))


def signature(thumbnail: bytes) -> Bytes:
    """(16, 16, 3) uint8: luma and chroma of a JPEG file, averaged in cells."""
    picture = JpegImagePlugin.JpegImageFile(io.BytesIO(thumbnail))
    picture.draft("YCbCr", picture.size)
    small = picture.convert("YCbCr").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small)


def _decoded(
    thumbnails: Iterable[pa.RecordBatch], wanted: pa.Array
) -> Iterator[tuple[pa.Array, Bytes, Bytes]]:
    """Digests of some contents, their luma and their chroma."""
    with ThreadPoolExecutor(min(DECODERS, os.cpu_count() or 1)) as pool:
        for batch in thumbnails:
            usable = pc.and_(pc.is_valid(batch["thumbnail"]), pc.is_in(batch["sha256"], wanted))
            own = batch.filter(usable)
            if own.num_rows:
                # Pillow decodes without Python's lock.
                made = list(pool.map(signature, own["thumbnail"].to_pylist()))
                yield own["sha256"], *_split(np.stack(made))


def _split(pictures: Bytes) -> tuple[Bytes, Bytes]:
    """Luma of (n, 16, 16, 3) pictures, (n, 256); and both chromas of 2 x 2 cells, (n, 128)."""
    count, half = len(pictures), SIDE // 2
    luma = np.ascontiguousarray(pictures[..., 0]).reshape(count, CELLS)
    cells = pictures[..., 1:].reshape(count, half, 2, half, 2, 2)
    chroma = cells.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8)
    return luma, chroma.reshape(count, CELLS // 2)
