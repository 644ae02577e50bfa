"""Turns each error of an object store into one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fruits.errors import StorageError

# Error codes that mean that the store refuses the request.
REFUSALS = {
    *("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"),
    *("InvalidToken", "TokenRefreshRequired", "AuthorizationHeaderMalformed"),
    *("RequestTimeTooSkewed", "AccountProblem", "AllAccessDisabled", "InvalidSecurity"),
}


# The exceptions of botocore if there are no usable credentials.
NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}


# Packages of object store clients.
CLIENTS = ("botocore", "aiobotocore", "aiohttp")


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Replaces the errors of an object store's client with one clear line.

    ``FileNotFoundError`` and ``FileExistsError`` are raised unchanged.

    Args:
        uri: the file or folder that the block works on, for the message.

    Raises:
        StorageError: the store refuses the request, or cannot be used.
    """
    try:
        yield
    except (StorageError, FileNotFoundError, FileExistsError):
        raise
    except Exception as error:
        origins = {type(one).__module__.partition(".")[0] for one in (error, error.__cause__)}
        if origins.isdisjoint(CLIENTS):
            raise
        raise storage_error(uri, error) from error


def storage_error(uri: str, error: Exception) -> StorageError:
    """The error to raise instead of an error of an object store's client."""
    answer = _answer(error).get("Error", {})
    code = answer.get("Code")
    if code in REFUSALS or type(error).__name__ in NO_CREDENTIALS:
        what = f"{code}: {answer.get('Message')}" if code else str(error)
        clock = ", and this machine's clock" if code == "RequestTimeTooSkewed" else ""
        return StorageError(
            f"{uri}: the store refuses the credentials, or there are none ({what}); check "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile or the role, and whether "
            f"they may list, read and write there{clock}; then run again"
        )
    return StorageError(
        f"{uri}: the store cannot be used ({type(error).__name__}: {error}); "
        "check the bucket, the endpoint and the network, and run again"
    )


def status_of(error: BaseException) -> tuple[int, str]:
    """Status and error code of a store's response; 0 and "" if it did not respond."""
    answer = _answer(error)
    status: int = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status, answer.get("Error", {}).get("Code", "")


def _answer(error: BaseException) -> dict[str, Any]:
    """A store's response, from botocore's error; s3fs wraps that error in an OSError."""
    for one in (error, error.__cause__):
        if answer := getattr(one, "response", None):
            found: dict[str, Any] = answer
            return found
    return {}
