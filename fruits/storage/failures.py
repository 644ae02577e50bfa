"""One clear line for each error of an object store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fruits.errors import StorageError

# Codes with which a store refuses a request.
REFUSALS = {
    *("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"),
    *("InvalidToken", "TokenRefreshRequired", "AuthorizationHeaderMalformed"),
    *("RequestTimeTooSkewed", "AccountProblem", "AllAccessDisabled", "InvalidSecurity"),
}


# What botocore raises where there are no credentials at all.
KEYLESS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}


# Packages whose errors are those of an object store.
CLIENTS = ("botocore", "aiobotocore", "aiohttp")


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Replaces the errors of an object store's client by one clear line.

    A missing file, and one that exists already, keep their errors.

    Args:
        uri: what the block works on, for the message.

    Raises:
        StorageError: the store refuses, or cannot be used.
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
    """The error to raise for one of an object store's client."""
    answer = _answer(error).get("Error", {})
    code = answer.get("Code")
    if code in REFUSALS or type(error).__name__ in KEYLESS:
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
    """Status and code of a store's answer; 0 and "" where it did not answer."""
    answer = _answer(error)
    status: int = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status, answer.get("Error", {}).get("Code", "")


def _answer(error: BaseException) -> dict[str, Any]:
    """A store's answer, as botocore keeps it; s3fs makes an OSError of botocore's error."""
    for one in (error, error.__cause__):
        if answer := getattr(one, "response", None):
            found: dict[str, Any] = answer
            return found
    return {}
