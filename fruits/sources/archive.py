"""Reads the members of archives: neighbours by one request, several requests ahead, in order."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pyarrow as pa

from fruits.sources.folder import MAX_BYTES, READ_AHEAD_BYTES
from fruits.sources.members import Place, places
from fruits.storage.files import read_range

Result = TypeVar("Result")

# Takes one member out of the bytes that hold it.
Cut = Callable[[Place, memoryview], bytes | OSError]

# Requests under way at once for each task.
READS = 8

# Neighbours are read together up to so many bytes: the 20 ms of a request are little compared with
# the time that so many bytes take.
BLOCK_BYTES = 8 << 20

# Bytes between two neighbours that are read in vain rather than make another request.
GAP_BYTES = 128 << 10


def read_members(items: pa.Table, cut: Cut) -> Iterator[bytes | OSError]:
    """The contents of members of archives, in order: see :meth:`Source.contents`.

    Args:
        items: rows of :data:`fruits.sources.members.ITEMS`.
        cut: takes a member out of the bytes that hold it.
    """
    jobs = ((_cost(block), partial(_read, block, cut)) for block in _blocks(places(items)))
    for contents in read_ahead(jobs, READS, READ_AHEAD_BYTES):
        yield from contents


def read_ahead(
    jobs: Iterable[tuple[int, Callable[[], Result]]], threads: int, most: int
) -> Iterator[Result]:
    """The results of jobs, in order, while further ones are under way.

    Args:
        jobs: of each, the bytes that it takes, and what is to be done.
        threads: jobs under way at once.
        most: bytes of all that are under way or wait to be taken.
    """
    pending: deque[tuple[Future[Result], int]] = deque()
    ahead = 0
    with ThreadPoolExecutor(threads) as pool:
        for cost, job in jobs:
            while pending and (len(pending) > threads or ahead + cost > most):
                future, taken = pending.popleft()
                ahead -= taken
                yield future.result()
            pending.append((pool.submit(job), cost))
            ahead += cost
        while pending:
            yield pending.popleft()[0].result()


def refusal(place: Place) -> str | None:
    """Why a member is not read, or None."""
    if place.reason is None and place.length > MAX_BYTES:
        return f"{place.length:,} bytes, the limit is {MAX_BYTES:,}"
    return place.reason


def damaged(reason: str) -> OSError:
    """The error of a member that is not what the listing said."""
    return OSError(errno.EIO, reason)


def _blocks(rows: Iterable[Place]) -> Iterator[list[Place]]:
    """Rows that follow each other and are read by one request."""
    block: list[Place] = []
    uri, start, stop, length = "", 0, 0, 0
    for row in rows:
        if refusal(row):
            block.append(row)
            continue
        end = max(stop, row.offset + row.span)
        near = row.uri == uri and start <= row.offset <= stop + GAP_BYTES
        small = end - start <= BLOCK_BYTES and length + row.length <= 2 * BLOCK_BYTES
        if not (near and small):
            if uri:
                yield block
                block = []
            uri, start, end, length = row.uri, row.offset, row.offset + row.span, 0
        stop, length = end, length + row.length
        block.append(row)
    if block:
        yield block


def _range(block: list[Place]) -> tuple[int, int]:
    rows = [row for row in block if not refusal(row)]
    start = min((row.offset for row in rows), default=0)
    return start, max((row.offset + row.span for row in rows), default=0)


def _cost(block: list[Place]) -> int:
    start, stop = _range(block)
    return stop - start + sum(row.length for row in block if not refusal(row))


def _read(block: list[Place], cut: Cut) -> list[bytes | OSError]:
    start, stop = _range(block)
    uri = next((row.uri for row in block if not refusal(row)), "")
    try:
        data = memoryview(read_range(uri, start, stop - start))
    except OSError as error:
        return [OSError(refusal(row)) if refusal(row) else error for row in block]
    return [_one(row, data, start, cut) for row in block]


def _one(row: Place, data: memoryview, start: int, cut: Cut) -> bytes | OSError:
    if reason := refusal(row):
        return OSError(reason)
    return cut(row, data[row.offset - start : row.offset - start + row.span])
