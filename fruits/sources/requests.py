"""Groups neighbouring members of archives into blocks and requests."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fruits.images.size_limits import RefusedItemError, too_long
from fruits.sources.members import Position
from fruits.storage.ranges import open_forward

# The most bytes of a block. The first block is small, because the task waits for it.
FIRST_BLOCK_BYTES, BLOCK_BYTES = 64 << 10, 1 << 20

# Bytes between two neighbours that are read and dropped instead of making another request.
GAP_BYTES = 1 << 20


@dataclass
class Block:
    """Members that are read together.

    Attributes:
        rows: The members; some may be refused, and are not read.
        start: The offset of their first byte in the archive.
        stop: The offset after their last byte.
        length: The length of their contents, in bytes.
    """

    rows: list[Position] = field(default_factory=list)
    start: int = 0
    stop: int = 0
    length: int = 0

    @property
    def cost(self) -> int:
        """The memory that they need in bytes, compressed and decompressed."""
        return self.stop - self.start + self.length

    def add(self, row: Position) -> None:
        """Adds a member, which must not be before the first one."""
        self.rows.append(row)
        self.stop = max(self.stop, row.offset + row.span)
        self.length += row.length

    def takes(self, row: Position, most: int) -> bool:
        """Whether a member of the same archive fits in this block of at most `most` bytes."""
        near = self.start <= row.offset <= self.stop + GAP_BYTES
        small = row.offset + row.span - self.start <= most and self.length + row.length <= 2 * most
        return near and small

    def precedes(self, row: Position) -> bool:
        """Whether a member of the same archive follows this block closely."""
        return self.stop <= row.offset <= self.stop + GAP_BYTES


@dataclass
class Run:
    """Neighbouring blocks of one archive, which are read with one request.

    Several threads read them, but in order: each thread waits for its turn.

    Attributes:
        uri: The URI of the archive.
        blocks: The blocks, at least one.
    """

    uri: str = ""
    blocks: list[Block] = field(default_factory=lambda: [Block()])
    _next: int = 0
    _turn: threading.Condition = field(default_factory=threading.Condition)
    _file: Any = None
    _error: Exception | None = None

    def read(self, number: int) -> memoryview:
        """The bytes of a block; fewer if the archive ends early.

        Args:
            number: the number of the block. Reads of all earlier blocks must have begun.

        Raises:
            OSError: the archive cannot be read.
            StorageError: the store cannot be used.
        """
        with self._turn:
            self._turn.wait_for(lambda: self._next == number)
            try:
                return self._read(self.blocks[number])
            except Exception as error:
                self._error = error  # The other threads would wait as long for the same error.
                raise
            finally:
                self._next += 1
                self._turn.notify_all()
                if self._next == len(self.blocks):
                    self.close()

    def close(self) -> None:
        """Closes the archive."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, block: Block) -> memoryview:
        if self._error is not None:
            raise self._error
        if block.start == block.stop:
            return memoryview(b"")
        if self._file is None:
            self._file = open_forward(self.uri, block.start, self.blocks[-1].stop)
        self._file.seek(block.start)
        return memoryview(self._file.read(block.stop - block.start))


def runs(rows: Iterable[Position]) -> Iterator[Run]:
    """Yields the requests for some members, in the order of the members."""
    run, most = Run(), FIRST_BLOCK_BYTES
    for row in rows:
        block = run.blocks[-1]
        if refusal(row):
            block.rows.append(row)
        elif not run.uri:
            # Members that were refused before it are in the same block.
            run.uri, block.start = row.uri, row.offset
            block.add(row)
        elif row.uri == run.uri and block.takes(row, most):
            block.add(row)
        elif row.uri == run.uri and block.precedes(row):
            most = min(BLOCK_BYTES, 4 * most)
            run.blocks.append(_block(row))
        else:
            yield run
            run, most = Run(row.uri, [_block(row)]), FIRST_BLOCK_BYTES
    yield run


def refusal(place: Position) -> RefusedItemError | None:
    """The error for a member that is not read; None if it can be read."""
    if place.reason is not None:
        return RefusedItemError(place.reason)
    return too_long(place.length)


def _block(row: Position) -> Block:
    block = Block(start=row.offset)
    block.add(row)
    return block
