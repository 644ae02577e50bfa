"""Thumbnails inside of the page: which ones, and in as few bytes as they take.

All thumbnails are written with the same settings, so their files begin with the same bytes but for
width and height. The page has these bytes once, and of each picture only what comes after them:
four in ten bytes are saved, and no picture is decoded.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_START_OF_FRAME, _START_OF_SCAN = 0xC0, 0xDA


def evenly_by_label(labels: pa.ChunkedArray) -> NDArray[np.int64]:
    """An order of n images of which every beginning has about as many of each label.

    Args:
        labels: n of them, or null.

    Returns:
        (n,) places; the same ones for the same labels.
    """
    codes = np.asarray(labels.combine_chunks().fill_null("").dictionary_encode().indices)
    shuffled = np.random.default_rng(0).permutation(len(codes))
    by_label = shuffled[np.argsort(codes[shuffled], kind="stable")]
    counts = np.bincount(codes)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    rank = np.arange(len(codes)) - starts
    order: NDArray[np.int64] = by_label[np.argsort(rank, kind="stable")]
    return order


def data_uri(picture: bytes, kind: str = "jpeg") -> str:
    """A picture as the address of an ``img`` element."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


@dataclass(frozen=True, eq=False)
class Packed:
    """Thumbnails of n images.

    Attributes:
        header: what every file begins with; width and height are zero.
        size_at: where they are: two bytes of height, two of width.
        bodies: the rest of the files, one after the other.
        offsets: (n + 1,) uint32, where each begins and the last ends; images without a thumbnail
            have no bytes.
        sizes: (n, 2) uint8, width and height.
    """

    header: bytes
    size_at: int
    bodies: bytes
    offsets: NDArray[np.uint32]
    sizes: NDArray[np.uint8]

    @property
    def count(self) -> int:
        """How many images have a thumbnail."""
        return int(np.count_nonzero(np.diff(self.offsets.astype(np.int64))))

    def describe(self) -> dict[str, Any]:
        """What the page needs to put the files together again."""
        header = base64.b64encode(self.header).decode()
        return {"header": header, "sizeAt": self.size_at, "count": self.count}


def pack(
    paths: Sequence[str], order: Iterable[int], thumbnails: Mapping[str, bytes], room: int
) -> Packed:
    """Takes as many thumbnails as there is room for.

    Args:
        paths: of the n images.
        order: places of images, those that are wanted most first.
        thumbnails: by path; pictures that begin with other bytes than most are left out.
        room: bytes for what comes after the common beginning.
    """
    header, at, parts = b"", 0, {}
    for place in order:
        split = _split(thumbnails.get(paths[place], b""))
        if split is None:
            continue
        own, at_own, size, body = split
        header, at = (header, at) if header else (own, at_own)
        if own != header:
            continue
        room -= len(body)
        if room < 0:
            break
        parts[place] = size, body
    return _joined(len(paths), header, at, parts)


def _joined(
    count: int, header: bytes, at: int, parts: Mapping[int, tuple[tuple[int, int], bytes]]
) -> Packed:
    lengths, sizes = np.zeros(count, np.uint32), np.zeros((count, 2), np.uint8)
    for place, (size, body) in parts.items():
        lengths[place], sizes[place] = len(body), size
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint32)
    bodies = b"".join(parts[place][1] for place in sorted(parts))
    return Packed(header, at, bodies, offsets, sizes)


def _split(picture: bytes) -> tuple[bytes, int, tuple[int, int], bytes] | None:
    """A JPEG file in two: up to its pixels, without the size; where the size was; it; the rest."""
    at, frame = 2, 0
    while picture[at : at + 1] == b"\xff" and at + 4 <= len(picture):
        marker, length = picture[at + 1], int.from_bytes(picture[at + 2 : at + 4])
        if marker == _START_OF_FRAME:
            frame = at + 5
        at += 2 + length
        if marker == _START_OF_SCAN and frame:
            height, width = (int.from_bytes(picture[n : n + 2]) for n in (frame, frame + 2))
            if max(height, width) > 255:
                return None
            header = picture[:frame] + bytes(4) + picture[frame + 4 : at]
            return header, frame, (width, height), picture[at:]
    return None
