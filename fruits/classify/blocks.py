"""Divides arrays of scores, an image by a label each, into blocks of rows."""

from __future__ import annotations

_IN_CACHE = 1 << 15
"""Scores that fit in the cache of a core, with a few intermediate results."""


def row_blocks(rows: int, columns: int) -> list[slice]:
    """Divides the rows of an array of scores, so that those of a block fit in the cache.

    With many labels, several operations on a block are much faster than each of them on all rows,
    with the same results.
    """
    size = max(1, _IN_CACHE // max(columns, 1))
    return [slice(start, start + size) for start in range(0, rows, size)]
