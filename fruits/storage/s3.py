"""fsspec's file system for S3, with all retries in one place: a request is retried for a minute.

Requests that may succeed later are retried: no connection, no response, a status of 500 or more,
too many requests. All other errors are raised at once: no such object, refused credentials.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from botocore.exceptions import ConnectionError as NoConnectionError
from fsspec.asyn import sync
from s3fs import S3FileSystem
from s3fs.core import S3_RETRYABLE_ERRORS
from s3fs.errors import translate_boto_error

from fruits.storage.failures import status_of, storage_error

Answer = TypeVar("Answer")

# How long a request is retried, in seconds.
RETRY_SECONDS = 60.0


# Pauses between two tries, in seconds.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


# The most objects that S3 deletes in one request.
MOST_DELETED = 1000


# Two statuses below 500 that are retried, and one above 500 that is not.
TIMED_OUT, TOO_MANY, NOT_IMPLEMENTED = 408, 429, 501


TRANSIENT_ERRORS = (*S3_RETRYABLE_ERRORS, NoConnectionError, ConnectionError, TimeoutError)
# A conditional write conflicts with one that S3 has not finished, such as a first try of its own.
_TRANSIENT_CODES = ("RequestTimeout", "ConditionalRequestConflict")


class RetryingS3(S3FileSystem):  # type: ignore[misc]
    """An S3 file system that retries every request until it succeeds or the time is up.

    Args:
        retry_seconds: how long to retry; then :class:`fruits.errors.StorageError` is raised.
        options: options of :class:`s3fs.S3FileSystem`.
    """

    def __init__(
        self, *arguments: Any, retry_seconds: float = RETRY_SECONDS, **options: Any
    ) -> None:
        self.retry_seconds = retry_seconds
        # A cached listing would lack files that Spark has written since.
        super().__init__(*arguments, use_listings_cache=False, **options)
        if not retry_seconds:
            self.retries = 1

    async def _call_s3(self, method: str, *arguments: Any, **options: Any) -> Any:
        place = "/".join(str(options[name]) for name in ("Bucket", "Key") if name in options)
        request = partial(super()._call_s3, method, *arguments, **options)
        return await self.retried(request, place)

    async def retried(self, request: Callable[[], Awaitable[Answer]], place: str) -> Answer:
        """The response to a request, which is retried until it succeeds or the time is up.

        Args:
            request: makes the request; it may be called several times.
            place: bucket and key, for the message.

        Raises:
            StorageError: the time is up.
            Exception: the request failed with an error that a retry would not change.
        """
        deadline = time.monotonic() + self.retry_seconds
        pause = SHORTEST_PAUSE
        while True:
            try:
                return await request()
            except Exception as error:
                if not is_transient(error):
                    raise
                if time.monotonic() >= deadline:
                    # s3fs does not retry an error of this class.
                    raise storage_error(f"s3a://{place}", error) from error
            # Random, so that not all readers retry at the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(LONGEST_PAUSE, 2 * pause)

    def split_path(self, path: str) -> tuple[str, str, None]:
        """Bucket and key; s3fs would cut off "?versionId=" and what follows it in a name."""
        bucket, _, key = (
            path.removeprefix("s3://").removeprefix("s3a://").lstrip("/").partition("/")
        )
        return bucket, key, None

    def list_objects(self, **options: str | int) -> dict[str, Any]:
        """One page of a listing, as S3 sends it; the options are those of ``ListObjectsV2``."""
        try:
            answer: dict[str, Any] = sync(self.loop, self._call_s3, "list_objects_v2", **options)
        except ClientError as error:
            raise translate_boto_error(error) from error
        return answer

    def delete_objects(self, paths: Sequence[str]) -> None:
        """Deletes objects by their exact names; s3fs interprets "*" in a name as a pattern.

        Args:
            paths: the paths of objects in one bucket.

        Raises:
            OSError: an object cannot be deleted; s3fs would ignore that.
        """
        for start in range(0, len(paths), MOST_DELETED):
            sync(self.loop, self._delete_objects, paths[start : start + MOST_DELETED])

    async def _delete_objects(self, paths: Sequence[str]) -> None:
        bucket = self.split_path(paths[0])[0]
        objects = [{"Key": self.split_path(path)[1]} for path in paths]
        answer = await self._call_s3(
            "delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True}
        )
        for refused in answer.get("Errors", []):
            raise OSError(
                f"{bucket}/{refused['Key']} cannot be deleted "
                f"({refused['Code']}: {refused.get('Message')})"
            )

    async def _cat_file(self, path: str, *arguments: Any, **options: Any) -> bytes:
        # One request: a separate request for the length would fail without a reason.
        content: bytes = await super()._cat_file(
            path, *arguments, **{"max_concurrency": 1} | options
        )
        return content


def s3(retry: bool) -> RetryingS3:
    """The S3 file system of this process, with the default chain of credentials and endpoints.

    Args:
        retry: whether to retry requests for :data:`RETRY_SECONDS`; otherwise they fail within
            seconds.
    """
    # botocore's own retries would multiply with ours.
    attempts = {"mode": "standard", "total_max_attempts": 1 if retry else 3}
    timeouts = {"connect_timeout": 5, "read_timeout": 15 if retry else 10}
    return RetryingS3(
        retry_seconds=RETRY_SECONDS if retry else 0.0,
        config_kwargs={"retries": attempts, **timeouts},
    )


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    status, code = status_of(error)
    if status:
        transient = status >= 500 or status in (TIMED_OUT, TOO_MANY) or code in _TRANSIENT_CODES
        return transient and status != NOT_IMPLEMENTED
    return isinstance(error, TRANSIENT_ERRORS)
