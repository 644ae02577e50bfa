"""Reads the members of archives in order: neighbours with one request, several reads ahead."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial

import pyarrow as pa

from fruits.sources.folder import READ_AHEAD_BYTES
from fruits.sources.members import Position, positions
from fruits.sources.requests import Block, Run, refusal, runs
from fruits.storage.ahead import read_ahead

# Extracts one member from the bytes of the archive that contain it.
Cut = Callable[[Position, memoryview], bytes | OSError]

# The number of parallel reads of a task.
READS = 8


def read_members(items: pa.Table, cut: Cut) -> Iterator[bytes | OSError]:
    """Yields the contents of members of archives, in order.

    Args:
        items: rows of :data:`fruits.sources.members.ITEMS`.
        cut: extracts a member from the bytes of the archive that contain it.
    """
    with ExitStack() as archives:

        def jobs() -> Iterator[tuple[int, Callable[[], list[bytes | OSError]]]]:
            for run in runs(positions(items)):
                archives.callback(run.close)
                for number, block in enumerate(run.blocks):
                    yield block.cost, partial(_read, run, number, cut)

        with closing(read_ahead(jobs(), READS, READ_AHEAD_BYTES)) as ahead:
            for contents in ahead:
                yield from contents


def damaged(reason: str) -> OSError:
    """The error for a member that does not match the listing, because the file was changed."""
    return OSError(errno.EIO, reason)


def _read(run: Run, number: int, cut: Cut) -> list[bytes | OSError]:
    block = run.blocks[number]
    try:
        data = run.read(number)
    except OSError as error:
        return [refusal(row) or error for row in block.rows]
    return [_one(row, data, block, cut) for row in block.rows]


def _one(row: Position, data: memoryview, block: Block, cut: Cut) -> bytes | OSError:
    if refused := refusal(row):
        return refused
    start = row.offset - block.start
    return cut(row, data[start : start + row.span])
