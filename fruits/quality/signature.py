"""Signatures of pictures, with which near-duplicates are found.

A run stores a thumbnail of each image (:mod:`fruits.images.thumbnail`). The signature is the
thumbnail in 16 x 16 cells of luma and 8 x 8 cells of each chroma. It changes little if a picture is
saved again in another format, size or quality. Features of a network cannot replace it: there, a
JPEG file of lower quality is as far from the original as the next frame of a film.
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

from fruits.features.digest_keys import Keys, index_in

Bytes = NDArray[np.uint8]

SIDE = 16
CELLS = SIDE * SIDE
"""The number of luma cells; both chromas together have half as many."""

DECODERS = 4
"""The maximum number of threads that decode thumbnails."""

# Quantisation steps of the nine lowest frequencies in JPEG files of quality 75, such as thumbnails:
# ITU-T T.81, tables K.1 and K.2, halved. Cells of five pixels or more show no higher frequencies.
_LUMA_STEPS = (8, 6, 5, 6, 6, 7, 7, 7, 8)
_CHROMA_STEPS = (9, 9, 12, 9, 11, 13, 12, 13, 28)

# Two thumbnails of one picture differ by three encodings: of both thumbnails, and of the copy.
_ENCODINGS = 3


def _noise(steps: tuple[int, ...]) -> float:
    """The root mean square error of one encoding at some frequencies, in levels of a pixel.

    Rounding a coefficient to multiples of q gives an error of q / sqrt(12), and the transform of
    64 pixels is orthonormal.
    """
    return math.sqrt(sum(step * step for step in steps) / 12 / 64)


LUMA_NOISE = math.sqrt(_ENCODINGS) * _noise(_LUMA_STEPS)
CHROMA_NOISE = math.sqrt(_ENCODINGS) * _noise(_CHROMA_STEPS)
"""Pictures that differ by at most this much (1.26 and 2.63 of 255 levels) count as the same."""


@dataclass(frozen=True, eq=False)
class Signatures:
    """The signatures of n contents.

    Attributes:
        keys: The keys of the n digests, (n,) uint64.
        luma: The luma cells, (n, 256) uint8.
        chroma: The chroma cells, (n, 128) uint8.
    """

    keys: Keys
    luma: Bytes
    chroma: Bytes

    @classmethod
    def of(cls, thumbnails: Iterable[pa.RecordBatch], wanted: Keys) -> Signatures:
        """The signatures of the wanted contents that have a thumbnail.

        Args:
            thumbnails: The columns sha256 and thumbnail (JPEG, may be null).
            wanted: The sorted keys of the wanted digests.
        """
        keys = np.empty(len(wanted), np.uint64)
        luma = np.empty((len(wanted), CELLS), np.uint8)
        chroma = np.empty((len(wanted), CELLS // 2), np.uint8)
        count = 0
        for rows in _decoded(thumbnails, wanted):
            end = count + len(rows[0])
            keys[count:end], luma[count:end], chroma[count:end] = rows
            count = end
        return cls(keys[:count], luma[:count], chroma[:count])


def signature(thumbnail: bytes) -> Bytes:
    """The luma and chroma of a JPEG file, averaged in cells, (16, 16, 3) uint8."""
    picture = JpegImagePlugin.JpegImageFile(io.BytesIO(thumbnail))
    picture.draft("YCbCr", picture.size)
    small = picture.convert("YCbCr").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small)


def _decoded(
    thumbnails: Iterable[pa.RecordBatch], wanted: Keys
) -> Iterator[tuple[Keys, Bytes, Bytes]]:
    """Yields the keys, luma and chroma of the wanted contents, each content once."""
    left = np.ones(len(wanted), bool)
    with ThreadPoolExecutor(min(DECODERS, os.cpu_count() or 1)) as pool:
        for batch in thumbnails:
            there = batch.filter(pc.is_valid(batch["thumbnail"]))
            # A content may have several thumbnails, which are all equal.
            places, rows = np.unique(index_in(wanted, there["sha256"]), return_index=True)
            fresh = (places >= 0) & left[places] if len(wanted) else places >= 0
            order = np.argsort(rows[fresh])
            own = places[fresh][order]
            left[own] = False
            if len(own):
                some = there["thumbnail"].take(pa.array(rows[fresh][order]))
                # Pillow releases Python's lock while it decodes.
                pictures = list(pool.map(signature, some.to_pylist()))
                yield wanted[own], *_split(np.stack(pictures))


def _split(pictures: Bytes) -> tuple[Bytes, Bytes]:
    """The luma (n, 256) and the chroma in 2 x 2 cells (n, 128) of (n, 16, 16, 3) pictures."""
    count, half = len(pictures), SIDE // 2
    luma = np.ascontiguousarray(pictures[..., 0]).reshape(count, CELLS)
    cells = pictures[..., 1:].reshape(count, half, 2, half, 2, 2)
    chroma = cells.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8)
    return luma, chroma.reshape(count, CELLS // 2)
