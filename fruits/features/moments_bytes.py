"""The file format of moments: a header with a SHA-256, and the compressed sums.

Words of 48 bits are stored in 6 bytes. For 1,280 features, that is about 20 MB, and 30 kB more for
each label.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.features.exact import WORD_BITS, Exact, Ints
from fruits.features.label_sums import LabelSums

_MAGIC = b"moments2"
_OLD = b"moments1"
_HEADER = struct.Struct("<8s32sQ")
"""Magic number, SHA-256 of everything after it, length of the JSON description that follows."""

_WORD_BYTES = WORD_BITS // 8
_WORD = np.dtype({"names": ["word"], "formats": [f"V{_WORD_BYTES}"], "itemsize": 8})
"""The bytes of a word that are stored, at the beginning of an int64."""

_CODEC = "zstd"


class OldMoments(ValueError):
    """An earlier version wrote these moments and stored less; measure the features again."""


def pack(width: int, labels: dict[str | None, LabelSums], products: Exact) -> bytes:
    """Packs the attributes of `fruits.features.moments.Moments`.

    Equal moments give equal bytes, if the version of Arrow's compression is the same.
    """
    exact = [products, *(sums.total for sums in labels.values())]
    ranges = [r for sums in labels.values() for r in (sums.minimum, sums.maximum)]
    body = b"".join([*map(_words_to_bytes, exact), *(r.astype("<f8").tobytes() for r in ranges)])
    description = {
        "width": width,
        "labels": list(labels),
        "counts": [sums.count for sums in labels.values()],
        "words": [[one.low, len(one.words)] for one in exact],
        "bytes": len(body),
    }
    head = json.dumps(description).encode()
    rest = b"".join([struct.pack("<Q", len(head)), head, pa.compress(body, _CODEC, asbytes=True)])
    return b"".join([_MAGIC, hashlib.sha256(rest).digest(), rest])


def unpack(packed: bytes | bytearray) -> tuple[int, dict[str | None, LabelSums], Exact]:
    """Unpacks what `pack` made: width, labels, products.

    Raises:
        OldMoments: an earlier version of this package made the bytes.
        ValueError: the bytes are something else, truncated, or damaged.
    """
    if packed.startswith(_OLD):
        raise OldMoments("wanted packed moments of this version; got those of an earlier one")
    if len(packed) < _HEADER.size or not packed.startswith(_MAGIC):
        raise ValueError(f"wanted packed moments; got {len(packed)} bytes of something else")
    _, digest, length = _HEADER.unpack_from(packed)
    if hashlib.sha256(memoryview(packed)[40:]).digest() != digest:
        raise ValueError(
            f"wanted packed moments; got {len(packed)} bytes that are truncated or damaged"
        )
    description: dict[str, Any] = json.loads(packed[_HEADER.size : _HEADER.size + length])
    compressed = memoryview(packed)[_HEADER.size + length :]
    body = memoryview(pa.decompress(compressed, description["bytes"], _CODEC))
    width, labels = description["width"], description["labels"]
    sizes = [width * (width + 1) // 2, *[width] * len(labels)]
    exact, start = [], 0
    for size, (low, count) in zip(sizes, description["words"], strict=True):
        exact.append(Exact(low, _words_from_bytes(body, start, count * size).reshape(count, size)))
        start += count * size * _WORD_BYTES
    ranges: NDArray[Any] = np.frombuffer(body[start:], "<f8").reshape(len(labels), 2, width)
    products, *totals = exact
    sums = {
        label: LabelSums(count, total, own[0].astype(np.float64), own[1].astype(np.float64))
        for label, count, total, own in zip(
            labels, description["counts"], totals, ranges, strict=True
        )
    }
    return width, sums, products


def _words_to_bytes(exact: Exact) -> bytes:
    words: NDArray[Any] = np.ascontiguousarray(exact.words, "<i8").view(_WORD)
    return words["word"].tobytes()


def _words_from_bytes(body: memoryview, start: int, count: int) -> Ints:
    # Each int64 ends with bytes of what follows, at the last word of the ranges: they are shifted
    # out, and an arithmetic shift back brings the sign along.
    overlapping: NDArray[Any] = np.ndarray((count,), "<i8", body, start, (_WORD_BYTES,))
    words: Ints = np.left_shift(overlapping, 64 - WORD_BITS, dtype=np.int64)
    words >>= 64 - WORD_BITS
    return words
