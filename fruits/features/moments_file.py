"""Moments as bytes: a header, a SHA-256, and the sums, compressed.

Words of 48 bits are stored in 6 bytes. For 1,280 features that is some 20 MB, and 30 kB more for
each label.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.features.exact import WORD_BITS, Exact, Ints
from fruits.features.moments import Moments
from fruits.features.products import LabelSums
from fruits.storage.files import replace
from fruits.storage.location import filesystem_of

_MAGIC = b"moments2"
_OLD = b"moments1"
_HEADER = struct.Struct("<8s32sQ")
"""Magic, SHA-256 of all that follows it, length of the description in JSON, which is next."""

_WORD_BYTES = WORD_BITS // 8
_CODEC = "zstd"


class OldMoments(ValueError):
    """These moments are of an earlier version, which kept less: measure the features again."""


def is_current(start: bytes) -> bool:
    """Whether a file that begins like this, with 8 bytes or more, has moments of this version."""
    return start.startswith(_MAGIC)


def read_moments(uri: str) -> Moments:
    """What is in a file.

    Raises:
        FileNotFoundError: there is none.
        OldMoments: an earlier version of this package wrote it.
        ValueError: it is something else, cut short, or damaged.
    """
    filesystem, path = filesystem_of(uri)
    return unpack(filesystem.cat_file(path))


def merge_files(uris: Iterable[str], target: str, without: Iterable[str] = ()) -> None:
    """Writes the moments of the rows of all of some files.

    Args:
        uris: of the files.
        target: URI of the result.
        without: URIs of moments that are subtracted.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: one is damaged, or rows are subtracted that are not there.
    """
    total = reduce(Moments.merge, map(read_moments, uris), Moments.empty())
    replace(target, reduce(Moments.subtract, map(read_moments, without), total).to_bytes())


def pack(moments: Moments) -> bytes:
    """Equal moments make equal bytes, with one version of Arrow's compression."""
    exact = [moments.products, *(sums.total for sums in moments.labels.values())]
    ranges = [r for sums in moments.labels.values() for r in (sums.minimum, sums.maximum)]
    body = b"".join([*map(_words_to_bytes, exact), *(r.astype("<f8").tobytes() for r in ranges)])
    description = {
        "width": moments.width,
        "labels": list(moments.labels),
        "counts": [sums.count for sums in moments.labels.values()],
        "words": [[one.low, len(one.words)] for one in exact],
        "bytes": len(body),
    }
    head = json.dumps(description).encode()
    rest = b"".join([struct.pack("<Q", len(head)), head, pa.compress(body, _CODEC, asbytes=True)])
    return b"".join([_MAGIC, hashlib.sha256(rest).digest(), rest])


def unpack(packed: bytes | bytearray) -> Moments:
    """The inverse of `pack`.

    Raises:
        OldMoments: an earlier version of this package made the bytes.
        ValueError: the bytes are something else, cut short, or damaged.
    """
    if packed.startswith(_OLD):
        raise OldMoments("wanted packed moments of this version, found those of an earlier one")
    if len(packed) < _HEADER.size or not packed.startswith(_MAGIC):
        raise ValueError(f"wanted packed moments, found {len(packed)} bytes of something else")
    _, digest, length = _HEADER.unpack_from(packed)
    if hashlib.sha256(memoryview(packed)[40:]).digest() != digest:
        raise ValueError(
            f"wanted packed moments, found {len(packed)} bytes that are cut short or damaged"
        )
    description: dict[str, Any] = json.loads(packed[_HEADER.size : _HEADER.size + length])
    compressed = memoryview(packed)[_HEADER.size + length :]
    body = memoryview(pa.decompress(compressed, description["bytes"], _CODEC))
    width, labels = description["width"], description["labels"]
    sizes = [width * (width + 1) // 2, *[width] * len(labels)]
    exact, start = [], 0
    for size, (low, count) in zip(sizes, description["words"], strict=True):
        end = start + size * count * _WORD_BYTES
        exact.append(Exact(low, _words_from_bytes(body[start:end]).reshape(count, size)))
        start = end
    ranges: NDArray[Any] = np.frombuffer(body[start:], "<f8").reshape(len(labels), 2, width)
    products, *totals = exact
    sums = {
        label: LabelSums(count, total, own[0].astype(np.float64), own[1].astype(np.float64))
        for label, count, total, own in zip(
            labels, description["counts"], totals, ranges, strict=True
        )
    }
    return Moments(width, sums, products)


def _words_to_bytes(exact: Exact) -> bytes:
    octets = exact.words.astype("<i8").view(np.uint8).reshape(-1, 8)
    return octets[:, :_WORD_BYTES].tobytes()


def _words_from_bytes(data: memoryview) -> Ints:
    octets = np.zeros((len(data) // _WORD_BYTES, 8), np.uint8)
    octets[:, 8 - _WORD_BYTES :] = np.frombuffer(data, np.uint8).reshape(-1, _WORD_BYTES)
    # An arithmetic shift brings the sign along.
    return octets.view("<i8").ravel().astype(np.int64) >> (64 - WORD_BITS)
