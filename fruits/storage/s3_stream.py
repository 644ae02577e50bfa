"""Streams a part of an object in S3 with one request, whatever its length.

A request costs as much time as a megabyte, and S3 bills requests. The response is read only as
needed; the rest waits at the store. If the connection breaks, another request continues at the same
byte.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from fsspec.asyn import sync

from fruits.storage.s3 import RetryingS3


class S3Stream:
    """A part of an object, to be read once, from its start to its end.

    Args:
        filesystem: the file system of the store.
        path: the path of the object in the file system.
        start: the first byte.
        stop: the byte after the last one.
    """

    def __init__(self, filesystem: RetryingS3, path: str, start: int, stop: int) -> None:
        self._filesystem = filesystem
        self._path = path
        self._position = start
        self._stop = stop
        self._body: Any = None

    def read(self, length: int) -> bytes:
        """The next bytes; fewer only where the part or the object ends.

        Raises:
            OSError: the object cannot be read, or ends before the position.
            StorageError: the store cannot be used, also after retries.
        """
        content: bytes = sync(self._filesystem.loop, self._read, length)
        return content

    def close(self) -> None:
        """Closes the connection if it is open."""
        if self._body is not None:
            self._filesystem.loop.call_soon_threadsafe(self._body.close)
            self._body = None

    async def _read(self, length: int) -> bytes:
        parts: list[bytes] = []
        missing = min(length, self._stop - self._position)
        while missing > 0 and (part := await self._some(missing)):
            parts.append(part)
            missing -= len(part)
            self._position += len(part)
        return b"".join(parts)

    async def _some(self, most: int) -> bytes:
        """The bytes that have arrived, at least one; none at the end of the object."""
        return await self._filesystem.retried(partial(self._try, most), self._path)

    async def _try(self, most: int) -> bytes:
        try:
            if self._body is None:
                self._body = await self._opened()
            part: bytes = await self._body.read(most)
        except Exception:
            if self._body is not None:
                self._body.close()
                self._body = None
            raise
        return part

    async def _opened(self) -> Any:
        bucket, key, _ = self._filesystem.split_path(self._path)
        part = f"bytes={self._position}-{self._stop - 1}"
        answer = await self._filesystem._call_s3("get_object", Bucket=bucket, Key=key, Range=part)
        return answer["Body"]
