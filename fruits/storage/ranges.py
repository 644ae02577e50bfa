"""A file of any store as a seekable Python file that needs few requests.

Libraries for archives read a few bytes at many positions, mostly forward. The system caches local
files. For files in a store, a window of bytes is kept in memory. On S3, once reads continue where
the last one ended, a single request streams the rest of the file; on other stores, the window
doubles.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

from fruits.storage.files import object_errors, opened, read_range
from fruits.storage.location import S3, Location, listed_at

if TYPE_CHECKING:
    from fruits.storage.s3_stream import S3Stream

SMALLEST_WINDOW, LARGEST_WINDOW = 64 << 10, 8 << 20

# Bytes that are read and dropped instead of starting a new request, such as a skipped image.
SMALL_JUMP = 1 << 20

# The same for S3: another request costs as much time as two or three megabytes, and money.
SMALL_JUMP_ON_S3 = 8 << 20

# The most bytes to take from a stream at a time, and the bytes to keep for reads backwards.
LARGEST_PART, KEPT = 1 << 20, 64 << 10


def open_ranges(location: Location, length: int) -> io.BufferedIOBase | io.RawIOBase:
    """Opens a file for reads at any position; only one thread may read it at a time.

    Args:
        location: the file.
        length: the length of the file, in bytes.

    Raises:
        OSError: the file cannot be read.
    """
    if location.is_local:
        return open(location.path, "rb")
    return RangeFile(location.uri, length)


def open_forward(uri: str, start: int, stop: int) -> Any:
    """Opens a part of a file that a listing names, to be read forward from its first byte.

    Args:
        uri: the URI of the file.
        start: the first byte of the part.
        stop: the byte after the part; a local file can be read beyond it.

    Returns:
        A binary file; its positions are those of the whole file.

    Raises:
        OSError: the file cannot be read.
    """
    if uri.startswith("file:"):
        return opened(listed_at(uri)[1])
    file = RangeFile(uri, stop, is_stream=True)
    file.seek(start)
    return file


class RangeFile(io.RawIOBase):
    """A file in a store.

    Args:
        uri: the URI of the file.
        length: the length in bytes; no byte after it is requested.
        is_stream: whether the file is read forward from the position of the first read.
    """

    def __init__(self, uri: str, length: int, is_stream: bool = False) -> None:
        self._uri = uri
        self._length = length
        self._position = 0
        self._start = 0
        self._window = b""
        self._size = SMALLEST_WINDOW // 2
        self._is_s3 = uri.partition(":")[0] in S3
        self._jump = SMALL_JUMP_ON_S3 if self._is_s3 else SMALL_JUMP
        self._stream: S3Stream | None = None
        self._is_new = is_stream

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a position, without a request."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        if base + offset < 0:
            raise ValueError(f"seek: wanted a position of 0 or more; got {base + offset}")
        self._position = base + offset
        return self._position

    def close(self) -> None:
        """Closes the connection."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        super().close()

    def read(self, size: int | None = -1) -> bytes:
        """Reads up to `size` bytes, or all that are left; fewer only at the end of the file."""
        left = max(0, self._length - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        if not (self._start <= self._position and self._position + wanted <= self._end):
            self._move(wanted)
        start = self._position - self._start
        found = self._window[start : start + wanted]
        self._position += len(found)
        return found

    def readinto(self, buffer: object) -> int:
        """Fills a buffer, or a part of it at the end of the file."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        found = self.read(len(view))
        view[: len(found)] = found
        return len(found)

    @property
    def _end(self) -> int:
        return self._start + len(self._window)

    def _move(self, wanted: int) -> None:
        """Extends the window until it has the wanted bytes, or reads another window."""
        if self._is_new:
            self._start, self._is_new = self._position, False
        jump = self._jump if self._window else 0
        forward = self._start <= self._position <= self._end + jump
        if forward and self._is_s3:
            self._size = min(LARGEST_PART, 2 * self._size)
            self._follow(self._position + wanted)
            return
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._size = min(LARGEST_WINDOW, 2 * self._size) if forward else SMALLEST_WINDOW
        # The end of an archive is read backwards: its directory comes before its last bytes.
        start = min(self._position, max(0, self._length - SMALLEST_WINDOW))
        stop = min(self._length, max(self._position + wanted, start + self._size))
        self._window = read_range(self._uri, start, stop - start)
        self._start = start

    def _follow(self, stop: int) -> None:
        """Reads the stream up to a position; keeps only the last bytes before it."""
        from fruits.storage.s3_stream import S3Stream

        if self._stream is None:
            filesystem, path = listed_at(self._uri)
            self._stream = S3Stream(filesystem, path, self._end, self._length)
        while (end := self._end) < stop:
            missing = stop - end if self._position <= end else 0
            with object_errors(self._uri):
                part = self._stream.read(max(self._size, missing))
            if not part:
                return
            kept = min(len(self._window), max(0, end - self._position) + KEPT)
            self._window = self._window[len(self._window) - kept :] + part
            self._start = end - kept
