"""Looks up digests among millions of others, with 8 bytes of memory for each.

Two digests count as equal if their keys of 8 bytes are equal: among ten million different contents,
the probability that any two have the same key is 3 in a million.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_ROWS = 8192
"""The number of digests that are Python objects at the same time."""


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
    parts = [digests[start : start + _ROWS] for start in range(0, len(digests), _ROWS)]
    return np.concatenate([np.empty(0, np.uint64), *map(_keys, parts)])


def _keys(digests: pa.Array | pa.ChunkedArray) -> Keys:
    texts = ((one or "").encode() for one in digests.to_pylist())
    made = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(made), np.uint64)
