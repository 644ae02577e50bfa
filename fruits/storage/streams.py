"""Reads an exact number of bytes from a pipe."""

from typing import IO


def read_exactly(file: IO[bytes], length: int) -> bytes:
    """The next bytes of a stream.

    Raises:
        EOFError: the stream ends before.
    """
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data
