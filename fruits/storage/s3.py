"""S3 as fsspec sees it, with one place for retries: a request that fails is retried for a minute.

Repeated is what may succeed later: no connection, no answer, a status of 500 or more, too many
requests. All other errors are raised at once: no such object, refused credentials.
"""

import asyncio
import random
import time
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from botocore.exceptions import ConnectionError as NoConnectionError
from fsspec.asyn import sync
from s3fs import S3FileSystem
from s3fs.core import S3_RETRYABLE_ERRORS
from s3fs.errors import translate_boto_error

from fruits.storage.failures import status_of, storage_error

# Seconds for which a request is retried.
RETRY_SECONDS = 60.0


# Seconds between two tries.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


# Objects that S3 deletes in one request.
MOST_DELETED = 1000


# Statuses below 500 after which a request is retried, and one above after which it is not.
TIMED_OUT, TOO_MANY, NOT_IMPLEMENTED = 408, 429, 501


TRANSIENT_ERRORS = (*S3_RETRYABLE_ERRORS, NoConnectionError, ConnectionError, TimeoutError)


class RetryingS3(S3FileSystem):  # type: ignore[misc]
    """An S3 file system that retries every request until it succeeds or the time is up.

    Args:
        retry_seconds: after these, a request that keeps failing raises
            :class:`fruits.errors.StorageError`.
        options: of :class:`s3fs.S3FileSystem`.
    """

    def __init__(
        self, *arguments: Any, retry_seconds: float = RETRY_SECONDS, **options: Any
    ) -> None:
        self.retry_seconds = retry_seconds
        # A cached listing would not have what Spark has written since.
        super().__init__(*arguments, use_listings_cache=False, **options)
        if not retry_seconds:
            self.retries = 1

    async def _call_s3(self, method: str, *arguments: Any, **options: Any) -> Any:
        deadline = time.monotonic() + self.retry_seconds
        pause = SHORTEST_PAUSE
        while True:
            try:
                return await super()._call_s3(method, *arguments, **options)
            except Exception as error:
                if not is_transient(error):
                    raise
                if time.monotonic() >= deadline:
                    # Not one of the errors that s3fs would retry itself.
                    place = "/".join(str(options[n]) for n in ("Bucket", "Key") if n in options)
                    raise storage_error(f"s3a://{place}", error) from error
            # Random, so that not all readers retry at the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(LONGEST_PAUSE, 2 * pause)

    def split_path(self, path: str) -> tuple[str, str, None]:
        """Bucket and key; s3fs would cut off what follows "?versionId=" in a name."""
        bucket, _, key = (
            path.removeprefix("s3://").removeprefix("s3a://").lstrip("/").partition("/")
        )
        return bucket, key, None

    def list_objects(self, **options: str) -> dict[str, Any]:
        """One page of a listing, as S3 sends it; the options are those of ``ListObjectsV2``."""
        try:
            answer: dict[str, Any] = sync(self.loop, self._call_s3, "list_objects_v2", **options)
        except ClientError as error:
            raise translate_boto_error(error) from error
        return answer

    def delete_objects(self, paths: list[str]) -> None:
        """Deletes objects by their exact names; s3fs interprets "*" in a name as a pattern.

        Args:
            paths: of objects of one bucket.

        Raises:
            OSError: one of them cannot be deleted; s3fs would pass over that.
        """
        for start in range(0, len(paths), MOST_DELETED):
            sync(self.loop, self._delete_objects, paths[start : start + MOST_DELETED])

    async def _delete_objects(self, paths: list[str]) -> None:
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
        # One request. A request for the length first would fail without a reason.
        content: bytes = await super()._cat_file(
            path, *arguments, **{"max_concurrency": 1} | options
        )
        return content


def s3(retry: bool) -> RetryingS3:
    """The S3 file system of this process, by the default chain of credentials and endpoints.

    Args:
        retry: repeat requests for :data:`RETRY_SECONDS`; otherwise they fail within seconds.
    """
    # botocore's own retries would multiply with these.
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
        transient = status >= 500 or status in (TIMED_OUT, TOO_MANY) or code == "RequestTimeout"
        return transient and status != NOT_IMPLEMENTED
    return isinstance(error, TRANSIENT_ERRORS)
