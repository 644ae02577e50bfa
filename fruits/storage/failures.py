"""Turns what an object store's client raises into one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fruits.errors import StorageError

# What a store answers to those who may not, and botocore says where there are no keys at all.
REFUSALS = {
    *("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"),
    *("InvalidToken", "TokenRefreshRequired", "AuthorizationHeaderMalformed"),
    *("RequestTimeTooSkewed", "AccountProblem", "AllAccessDisabled", "InvalidSecurity"),
}


KEYLESS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}


CLIENTS = ("botocore", "aiobotocore", "aiohttp")


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turns what an object store's client raises into one clear line.

    Raises:
        StorageError: in the place of any such error but that something is missing, or is there
            already.
    """
    try:
        yield
    except (StorageError, FileNotFoundError, FileExistsError):
        raise
    except Exception as error:
        origins = {type(one).__module__.partition(".")[0] for one in (error, error.__cause__)}
        if origins.isdisjoint(CLIENTS):
            raise
        raise unusable(uri, error) from error


def unusable(uri: str, error: Exception) -> StorageError:
    """What to tell of an error of an object store's client."""
    told = _answer(error).get("Error", {})
    code = told.get("Code")
    if code in REFUSALS or type(error).__name__ in KEYLESS:
        what = f"{code}: {told.get('Message')}" if code else str(error)
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
    """Status and code of a store's answer; 0 and nothing where it did not answer."""
    answer = _answer(error)
    status: int = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status, answer.get("Error", {}).get("Code", "")


def _answer(error: BaseException) -> dict[str, Any]:
    """What a store answered, as botocore keeps it; s3fs makes an OSError of botocore's."""
    for one in (error, error.__cause__):
        if answer := getattr(one, "response", None):
            found: dict[str, Any] = answer
            return found
    return {}
