"""Resolves a path or URI once: its fsspec file system, its path there, and its Hadoop URI.

A plain path is a local path. `s3://` and `s3a://` are the same store: fsspec calls it `s3`, Hadoop
calls it `s3a`. Credentials and endpoints come from each library's own default chain. Names are
literal: they have no wildcards, and `%20` is not decoded.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from fruits.errors import StorageError

S3 = ("s3", "s3a")

# A scheme has at least two letters, and only `file:` is allowed without two slashes.
_SCHEME = re.compile(r"(?:(file):|([A-Za-z][A-Za-z0-9+.-]+)://|(s3a?):)", re.IGNORECASE)

# The beginning of an absolute path of Windows.
_DRIVE = r"[A-Za-z]:[\\/]"

# Hadoop and Spark interpret a path with any of these characters as a pattern.
_PATTERN = re.compile(r"[{}\[\]*?\\]")

# Hosts of a `file:` URI that mean the local machine.
_THIS_HOST = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Location:
    """A file or a folder of a store; it may not exist.

    Attributes:
        filesystem: The file system, an instance of fsspec.
        path: The path in the file system, without a slash at its end; local paths are absolute.
        uri: The URI as Hadoop writes it: `file:/a/b` for local paths, or `s3a://bucket/key`.
    """

    filesystem: Any
    path: str
    uri: str

    @classmethod
    def of(cls, place: str, retry: bool = True) -> Location:
        """The location of a path or a URI.

        Args:
            place: a path or URI from a user or a table.
            retry: whether requests are retried for a minute if the store does not respond.

        Raises:
            StorageError: no file system is known for the scheme, or the path is invalid.
        """
        filesystem, path = filesystem_of(place, retry)
        return cls(filesystem, path, _uri(filesystem, path))

    def __truediv__(self, name: str) -> Location:
        """The location of a file or folder below this folder."""
        path = f"{self.path.rstrip('/')}/{name}"
        return Location(self.filesystem, path, f"{self.uri.rstrip('/')}/{name}")

    def extended(self, text: str) -> Location:
        """The location with a text appended to its name."""
        return Location(self.filesystem, self.path + text, self.uri + text)

    def __str__(self) -> str:
        return self.uri

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the store with its own chain of credentials.
        return listed_location, (self.uri,)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's own file system."""
        return is_local(self.filesystem)

    @property
    def is_s3(self) -> bool:
        """Whether it is in a store with the S3 protocol."""
        return "s3" in _protocols(self.filesystem)

    @property
    def for_spark(self) -> str:
        """The path to pass to `spark.read` and Spark ML's `load`, with wildcards escaped.

        Spark interprets `{}[]*?` as a pattern when it reads, but not when it writes: to write, use
        :attr:`uri`.
        """
        return _PATTERN.sub(r"\\\g<0>", self.uri)

    def contains(self, other: Location) -> bool:
        """Whether another location is this one or below it, after symbolic links are resolved."""
        if not (self.is_local and other.is_local):
            same_store = (
                self.is_local == other.is_local
                and self.uri.split(":")[0] == other.uri.split(":")[0]
            )
            return same_store and f"{other.path}/".startswith(f"{self.path.rstrip('/')}/")
        inner, outer = os.path.realpath(other.path), os.path.realpath(self.path)
        if f"{inner}/".startswith(f"{outer.rstrip('/')}/"):
            return True
        # With mounts, and on file systems that ignore case, a folder has several paths.
        return any(_is_same(folder, outer) for folder in _upwards(inner))


def filesystem_of(uri: str, retry: bool = True) -> tuple[Any, str]:
    """The fsspec file system of a path or URI, and the path there.

    Args:
        uri: the path or URI of a file or a folder.
        retry: whether requests are retried for a minute if the store does not respond; otherwise
            they fail within seconds.

    Raises:
        StorageError: no file system is known for the scheme, or the path is invalid.
    """
    if not uri or "\0" in uri:
        raise StorageError(f"wanted a path, or a URI such as s3a://bucket/key; got {uri!r}")
    found = _SCHEME.match(uri)
    if not found:
        return fsspec.filesystem("file"), _local_path(uri)
    protocol = next(filter(None, found.groups())).lower()
    if protocol == "file":
        return fsspec.filesystem("file"), _local_path(_without_host(uri, uri[found.end() :]))
    if protocol in S3:
        return _s3_path(uri, retry)
    try:
        filesystem = fsspec.filesystem(protocol)
    except (ValueError, ImportError, TypeError, OSError) as error:
        # The next lines of some messages list all folders that were searched for a library.
        reason = str(error).partition("\n")[0]
        raise StorageError(
            f"{uri}: wanted a path, or a URI such as s3a://bucket/key: {reason}"
        ) from None
    return filesystem, filesystem._strip_protocol(protocol + uri[len(protocol) :])


def is_absolute(place: str) -> bool:
    """Whether a path or a URI means the same in any folder; a colon alone is part of a name.

    >>> [is_absolute(place) for place in ("/data", "file:/data", "C:/data", "photos:1/data")]
    [True, True, True, False]
    """
    return bool(place.startswith("/") or _SCHEME.match(place) or re.match(_DRIVE, place))


def listed_at(uri: str, retry: bool = True) -> tuple[Any, str]:
    """The file system and the path of a file that a listing names; the name is not normalised.

    Args:
        uri: a :attr:`Location.uri`, followed by any name that the store allows.
        retry: see :func:`filesystem_of`.
    """
    scheme, _, path = uri.partition(":")
    if scheme == "file":
        return fsspec.filesystem("file"), path
    if scheme in S3:
        from fruits.storage.s3 import s3

        return s3(retry), path.removeprefix("//")
    return filesystem_of(uri, retry)


def listed_location(uri: str) -> Location:
    """The location of a file that a listing names, see :func:`listed_at`."""
    return Location(*listed_at(uri), uri)


def is_local(filesystem: Any) -> bool:
    """Whether a file system is this machine's own."""
    return isinstance(filesystem, LocalFileSystem)


def _uri(filesystem: Any, path: str) -> str:
    if is_local(filesystem):
        return f"file:{path}"
    if _SCHEME.match(path):
        return path  # fsspec keeps the scheme in paths of web servers.
    protocol = _protocols(filesystem)[0]
    return f"{'s3a' if protocol in S3 else protocol}://{path.lstrip('/')}"


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocols: str | tuple[str, ...] = filesystem.protocol
    return (protocols,) if isinstance(protocols, str) else tuple(protocols)


def _local_path(path: str) -> str:
    """The absolute path, without `..` and doubled slashes, as the operating system resolves it."""
    if path == "~" or path.startswith("~/"):
        path = os.path.expanduser(path)
    windows = re.match(rf"{_DRIVE}|\\\\", path)
    if windows and not os.path.lexists(path):
        raise StorageError(
            f"{path}: wanted a path of this system, or a URI such as s3a://bucket/key; got a "
            "Windows path: give the path where the folder is mounted here, such as /mnt/c/photos"
        )
    parts = path.split("/")
    if ".." in parts:
        # `..` after a link means the parent of the link's target, not the parent of the link.
        after = len(parts) - parts[::-1].index("..")
        path = "/".join([os.path.realpath("/".join(parts[:after])), *parts[after:]])
    # POSIX allows a special meaning for two leading slashes, but no supported system uses it.
    return re.sub(r"^/+", "/", os.path.abspath(path))


def _without_host(uri: str, path: str) -> str:
    """The path of a `file:` URI."""
    if not path.startswith("//"):
        return path
    host, slash, rest = path[2:].partition("/")
    if host.lower() not in _THIS_HOST:
        raise StorageError(
            f"{uri}: wanted a file on this machine; got one on the machine {host}: "
            f"write file:///{host}/{rest} if {host} is a folder"
        )
    return slash + rest


def _s3_path(uri: str, retry: bool) -> tuple[Any, str]:
    path = re.match(r"[^:]+://([^/].*)", uri, re.DOTALL)
    if not path:
        raise StorageError(
            f"{uri}: wanted a URI such as s3a://bucket/key; got one without a bucket: add its name"
        )
    # With doubled slashes, Hadoop and fsspec use different names for the same file.
    parts = [part for part in path[1].split("/") if part]
    if not {".", ".."}.isdisjoint(parts):
        raise StorageError(
            f"{uri}: wanted a URI such as s3a://bucket/key; got . or .., which mean nothing in S3: "
            "write the full key"
        )
    # Imported only if needed, because the import takes a second.
    from fruits.storage.s3 import s3

    return s3(retry), "/".join(parts)


def _upwards(path: str) -> list[str]:
    """A path and all folders above it."""
    found = [path]
    while (parent := os.path.dirname(path)) != path:
        path = parent
        found.append(path)
    return found


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # One of them does not exist.
        return False
