"""The scheme of a path picks the storage: one URI, seen by fsspec and by Hadoop.

A plain path is a local one. ``s3://`` and ``s3a://`` are the same store: fsspec calls it ``s3``,
Hadoop ``s3a``. Credentials and endpoints come from each library's own default chain.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from fruits.errors import StorageError


def filesystem_of(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI, and the URI's path there.

    Raises:
        StorageError: when no file system is known for the scheme.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", uri)
    protocol = scheme.group(1).lower() if scheme else "file"
    try:
        filesystem = fsspec.filesystem(protocol)
    except (ValueError, ImportError) as error:
        raise StorageError(
            f"{uri}: wanted a path, or a URI such as s3a://bucket/key: {error}"
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


def sha256_of(uri: str) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    filesystem, path = filesystem_of(uri)
    with filesystem.open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    except FileExistsError:
        return False
    return True


def replace(uri: str, content: bytes) -> None:
    """Writes a small file whole: readers see the old content or the new one, nothing between."""
    filesystem, path = filesystem_of(uri)
    if not is_local(filesystem):
        filesystem.pipe_file(path, content)
        return
    with _beside(path, content) as temporary:
        os.replace(temporary, path)


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
    """Turns what an object store's client raises beside OSError into one clear line."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp"):
            raise StorageError(
                f"{uri}: the store cannot be used ({type(error).__name__}: {error}); "
                "check the bucket, the credentials and the endpoint"
            ) from error
        raise
