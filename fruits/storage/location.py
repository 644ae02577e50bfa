"""Resolves a URI once: its fsspec file system, its path there, and how Hadoop writes it.

A plain path is a local one. ``s3://`` and ``s3a://`` are the same store: fsspec calls it ``s3``,
Hadoop ``s3a``. Credentials and endpoints come from each library's own default chain.
"""

import os
import re
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from fruits.errors import StorageError

S3 = ("s3", "s3a")


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


def _s3(patient: bool) -> Any:
    # Only where it is needed: the import takes a second.
    from fruits.storage.s3 import s3

    return s3(patient)
