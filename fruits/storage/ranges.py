"""A file of any store as a seekable Python file, which is read by few requests.

An archive's library reads a few bytes here and a few there, mostly onwards. Local files have the
system's own cache; of a store, a window is kept in memory, which doubles while the reads go on
where the last ones ended, and is small again after a long jump.
"""

import io
import os

from fruits.storage.files import read_range
from fruits.storage.location import Location

SMALLEST_WINDOW, LARGEST_WINDOW = 64 << 10, 8 << 20

# Bytes that may be skipped in one read, such as an image in an archive.
SMALL_JUMP = 1 << 20


def open_ranges(location: Location, length: int) -> io.BufferedIOBase | io.RawIOBase:
    """Opens a file for reads at any place; it can be read in one thread at a time.

    Args:
        location: of the file.
        length: of the file, in bytes.

    Raises:
        OSError: it cannot be read.
    """
    if location.is_local:
        return open(location.path, "rb")
    return RangeFile(location.uri, length)


class RangeFile(io.RawIOBase):
    """A file of a store.

    Args:
        uri: of the file.
        length: in bytes.
    """

    def __init__(self, uri: str, length: int) -> None:
        self._uri = uri
        self._length = length
        self._place = 0
        self._start = 0
        self._window = b""
        self._size = SMALLEST_WINDOW // 2

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place of the next read."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a place; costs no request."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        if base + offset < 0:
            raise ValueError(f"seek: wanted a place from 0; got {base + offset}")
        self._place = base + offset
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """Up to so many bytes, or all that are left; fewer only at the end of the file."""
        left = max(0, self._length - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        end = self._start + len(self._window)
        if not (self._start <= self._place and self._place + wanted <= end):
            self._move(wanted, onwards=self._start <= self._place <= end + SMALL_JUMP)
        start = self._place - self._start
        found = self._window[start : start + wanted]
        self._place += len(found)
        return found

    def readinto(self, buffer: object) -> int:
        """Fills a buffer as far as the file goes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        found = self.read(len(view))
        view[: len(found)] = found
        return len(found)

    def _move(self, wanted: int, onwards: bool) -> None:
        """Reads another window, which begins at the place and has what is wanted."""
        self._size = min(LARGEST_WINDOW, 2 * self._size) if onwards else SMALLEST_WINDOW
        # The last bytes of a file are read backwards: its directory comes before its end.
        start = min(self._place, max(0, self._length - SMALLEST_WINDOW))
        stop = min(self._length, max(self._place + wanted, start + self._size))
        self._window = read_range(self._uri, start, stop - start)
        self._start = start
