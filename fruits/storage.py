"""The scheme of a path picks the storage: one URI, seen by fsspec and by Hadoop.

A plain path is a local one. ``s3://`` and ``s3a://`` are the same store: fsspec calls it ``s3``,
Hadoop ``s3a``. Credentials and endpoints come from each library's own default chain.
"""

import hashlib
import os
import posixpath
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from fruits.errors import StorageError

S3 = ("s3", "s3a")
# What a store answers to those who may not, and botocore says where there are no keys at all.
REFUSALS = {
    *("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"),
    *("InvalidToken", "TokenRefreshRequired", "AuthorizationHeaderMalformed"),
    *("RequestTimeTooSkewed", "AccountProblem", "AllAccessDisabled", "InvalidSecurity"),
}
KEYLESS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
PRECONDITION_FAILED = 412
CLIENTS = ("botocore", "aiobotocore", "aiohttp")


def filesystem_of(uri: str, patient: bool = True) -> tuple[Any, str]:
    """The fsspec file system of a URI, and the URI's path there.

    Args:
        uri: of a file or a folder.
        patient: a store that is away for a while is waited for; otherwise that is told in seconds.

    Raises:
        StorageError: when no file system is known for the scheme.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", uri)
    protocol = scheme.group(1).lower() if scheme else "file"
    if protocol in S3 and not re.match(r"[^:]+://[^/]", uri):
        raise StorageError(
            f"{uri}: wanted a URI such as s3a://bucket/key; there is no bucket in it"
        )
    try:
        filesystem = _s3(patient) if protocol in S3 else fsspec.filesystem(protocol)
    except (ValueError, ImportError, TypeError, OSError) as error:
        # Some add all the places where they have looked for a library.
        reason = str(error).partition("\n")[0]
        raise StorageError(
            f"{uri}: wanted a path, or a URI such as s3a://bucket/key: {reason}"
        ) from None
    path = filesystem._strip_protocol(uri)
    return filesystem, os.path.abspath(path) if is_local(filesystem) else path


def hadoop_uri(uri: str) -> str:
    """The URI as Hadoop and Spark write it: ``file:/a/b`` for local paths, ``s3a`` for ``s3``."""
    filesystem, path = filesystem_of(uri)
    if is_local(filesystem):
        return f"file:{path}"
    protocols = filesystem.protocol
    protocol = protocols if isinstance(protocols, str) else protocols[0]
    return f"{'s3a' if protocol == 's3' else protocol}://{path.lstrip('/')}"


def is_local(filesystem: Any) -> bool:
    """Whether a file system is this machine's own."""
    return isinstance(filesystem, LocalFileSystem)


def first_look(uri: str) -> dict[str, Any]:
    """What a store says of a file or a folder: ``type`` and the like.

    Asked first, so that a store that is out of reach, or refuses, is told of in seconds; what comes
    after waits for a store that is away.

    Raises:
        OSError: there is no such thing, or it may not be looked at.
        StorageError: the store cannot be used.
    """
    filesystem, path = filesystem_of(uri, patient=False)
    with store_errors(uri):
        found: dict[str, Any] = filesystem.info(path)
    return found


def sha256_of(uri: str) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    first_look(uri)
    filesystem, path = filesystem_of(uri)
    with filesystem.open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(uri: str) -> bytes:
    """A file's content.

    Raises:
        OSError: the file's own fault: it is missing, is a folder, or may not be read.
        StorageError: the fault of the store that it is in, which has not passed.
    """
    filesystem, path = filesystem_of(uri)
    try:
        with store_errors(uri):
            content: bytes = filesystem.cat_file(path)
    except StorageError as error:
        # One object that may not be read; refused credentials have other codes.
        if error.__cause__ and status_of(error.__cause__)[1] == "AccessDenied":
            raise PermissionError(str(error.__cause__)) from error
        raise
    return content


def create(uri: str, content: bytes) -> bool:
    """Writes a small file unless it is there already; whether it was written."""
    filesystem, path = filesystem_of(uri)
    if is_local(filesystem):
        with _beside(path, content) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        return True
    filesystem.invalidate_cache()
    if filesystem.exists(path):
        return False
    try:
        filesystem.pipe_file(path, content, mode="create")
    except OSError as error:
        # Not every store says which condition it was that failed.
        if isinstance(error, FileExistsError) or status_of(error)[0] == PRECONDITION_FAILED:
            return False
        raise
    return True


def replace(uri: str, content: bytes, patient: bool = True) -> None:
    """Writes a small file whole: readers see the old content or the new one, nothing between."""
    filesystem, path = filesystem_of(uri, patient)
    if not is_local(filesystem):
        filesystem.pipe_file(path, content)
        return
    with _beside(path, content) as temporary:
        os.replace(temporary, path)


def delete(uri: str, patient: bool = True) -> None:
    """Deletes a file, if it is there."""
    filesystem, path = filesystem_of(uri, patient)
    if filesystem.exists(path):
        filesystem.rm_file(path)


def move(uris: list[str], folder: str) -> None:
    """Moves files of one folder into another of the same file system."""
    if not uris:
        return
    filesystem, target = filesystem_of(folder)
    names = [filesystem_of(uri)[1] for uri in uris]
    targets = [f"{target}/{posixpath.basename(name)}" for name in names]
    if is_local(filesystem):
        os.makedirs(target, exist_ok=True)
        for name, new in zip(names, targets, strict=True):
            os.replace(name, new)
    else:
        # Lists, so that a store copies many at a time.
        filesystem.copy(names, targets)
        filesystem.rm(names)


@contextmanager
def _beside(path: str, content: bytes) -> Iterator[str]:
    """A temporary file in the folder of a path, which is made."""
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f"_{uuid.uuid4().hex}.{name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        Path(temporary).unlink(missing_ok=True)


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


def _s3(patient: bool) -> Any:
    # Only where it is needed: the import takes a second.
    from fruits.s3 import s3

    return s3(patient)
