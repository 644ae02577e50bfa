"""Looks up digests among millions of others, with 8 bytes of memory for each.

The key of a SHA-256 in hexadecimal is its first 8 bytes, as a big-endian number. Any other text,
such as the digest of a box or a path, is hashed. Two digests count as equal if their keys are
equal: among ten million different contents, the probability that any two have the same key is 3 in
a million.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_ROWS = 8192
"""The number of digests that are Python objects, or numbers for each digit, at the same time."""

_DIGITS = 64
"""The number of hexadecimal digits of a SHA-256."""

_SHA256 = re.compile(f"[0-9a-f]{{{_DIGITS}}}")

_NOT_A_DIGIT = 16

_VALUES = np.full(256, _NOT_A_DIGIT, np.uint8)
_VALUES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
"""The value of each byte as a hexadecimal digit."""


def sorted_keys(digests: Iterable[pa.Array | pa.ChunkedArray]) -> Keys:
    """The sorted keys of some digests, with duplicates.

    Args:
        digests: columns of strings, read one after the other; nulls are ignored.
    """
    return merged_keys(keys_of(one.drop_null()) for one in digests)


def merged_keys(parts: Iterable[Keys]) -> Keys:
    """Merges keys into one sorted array, with duplicates.

    The parts are not in memory together: the array grows in place.
    """
    joined = bytearray()
    for part in parts:
        joined += np.ascontiguousarray(part, np.uint64).data
    keys = np.frombuffer(joined, np.uint64)
    keys.sort()
    return keys


def digest_keys(digests: Iterable[pa.Array | pa.ChunkedArray]) -> Keys:
    """The keys of :func:`sorted_keys`, without duplicates."""
    return unique_keys(sorted_keys(digests))


def unique_keys(keys: Keys) -> Keys:
    """Removes duplicates from sorted keys."""
    last = np.append(keys[1:] != keys[:-1], True)[: len(keys)]
    return keys if last.all() else keys[last]


def is_in(keys: Keys, digests: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether each of n digests has one of the sorted keys: (n,) bool, False for null."""
    return index_in(keys, digests) >= 0


def index_in(keys: Keys, digests: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """The index of each of n digests in the sorted keys: (n,) int64, -1 if it is not there."""
    own = keys_of(digests)
    if not len(keys):
        return np.full(len(own), -1)
    places = np.minimum(np.searchsorted(keys, own), len(keys) - 1)
    found = (keys[places] == own) & digests.is_valid().to_numpy(zero_copy_only=False)
    return np.where(found, places, -1)


def keys_of(digests: pa.Array | pa.ChunkedArray) -> Keys:
    """The key of each digest, (n,); the key of null has no meaning."""
    chunks = digests.chunks if isinstance(digests, pa.ChunkedArray) else [digests]
    parts = [one[start : start + _ROWS] for one in chunks for start in range(0, len(one), _ROWS)]
    return np.concatenate([np.empty(0, np.uint64), *map(_keys, parts)])


def photograph_keys(digests: pa.Array | pa.ChunkedArray) -> Keys:
    """The key of each photograph, (n,): a box, whose digest ends with the box, has the same key."""
    return keys_of(pc.utf8_slice_codeunits(digests, 0, _DIGITS))


def _keys(digests: pa.StringArray) -> Keys:
    """The keys of some digests, without a Python object for each if all are SHA-256."""
    _, offsets, data = digests.buffers()
    ends = np.frombuffer(offsets, np.int32)[digests.offset :][: len(digests) + 1]
    if (np.diff(ends) == _DIGITS).all():
        texts = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].reshape(-1, _DIGITS)
        values = _VALUES[texts]
        if (values < _NOT_A_DIGIT).all():
            first = values[:, :16:2] << 4 | values[:, 1:16:2]
            return first.view(">u8")[:, 0].astype(np.uint64)
    return np.array([_key(text or "") for text in digests.to_pylist()], np.uint64)


def _key(text: str) -> int:
    if _SHA256.fullmatch(text):
        return int(text[:16], 16)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
