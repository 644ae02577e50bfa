"""A URI -> the images below it: path, label, length, modified, and their contents.

Files are listed and read through fsspec, because their bytes are wanted in Python: a read through
the JVM would copy each of them twice and fetch one at a time.
"""

import posixpath
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pyarrow as pa

from fruits.errors import InputError
from fruits.sources.listing import LISTING
from fruits.storage.failures import store_errors
from fruits.storage.files import first_look, read
from fruits.storage.location import filesystem_of, hadoop_uri

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp")


# Reads under way at once for each task: enough to hide 20 ms of latency behind the CNN.
READS = 16


# Contents read ahead of the CNN are bounded by their bytes too: 16 large photographs are a lot.
READ_AHEAD_BYTES = 64 << 20


def list_images(uri: str) -> pa.Table:
    """Every image file below ``uri``, in the order of the paths.

    Files whose names do not end like an image's (:data:`SUFFIXES`) and hidden ones are passed over.

    Returns:
        A table of :data:`LISTING`; ``path`` is written as Spark's ``binaryFile`` source writes it,
        ``length`` is in bytes.

    Raises:
        InputError: when ``uri`` is missing, is not a folder, cannot be read or holds no image.
    """
    filesystem, root = filesystem_of(uri)
    try:
        with store_errors(uri):
            if first_look(uri)["type"] != "directory":
                raise InputError(f"images: wanted a folder of images; {uri} is a file")
            files = filesystem.find(root, detail=True)
    except FileNotFoundError:
        raise InputError(f"images: wanted a folder of images; {uri} does not exist") from None
    except OSError as error:
        raise InputError(f"images: {uri} cannot be read: {error}") from None
    names = sorted(name for name in files if _is_image(name))
    if not names:
        raise InputError(
            f"images: wanted files that end in {' '.join(SUFFIXES)}; "
            f"there are none among the {len(files)} files below {uri}"
        )
    prefix = hadoop_uri(uri).removesuffix(root)
    return pa.table(
        {
            "path": [_text(prefix + name) for name in names],
            "label": [_text(posixpath.basename(posixpath.dirname(name))) for name in names],
            "length": [files[name]["size"] for name in names],
            "modified": [_modified(files[name]) for name in names],
        },
        schema=LISTING,
    )


def read_contents(paths: Iterable[tuple[str, int]]) -> Iterator[bytes | OSError]:
    """The contents of files, in order, several reads ahead.

    Args:
        paths: of each file, its path as :func:`list_images` writes it and its length in bytes.

    Yields:
        The bytes, or the error that kept them from being read.

    Raises:
        StorageError: the store they are in is at fault, not they.
    """
    pending: deque[tuple[Future[bytes | OSError], int]] = deque()
    ahead = 0
    with ThreadPoolExecutor(READS) as pool:
        for path, length in paths:
            while pending and (len(pending) >= READS or ahead + length > READ_AHEAD_BYTES):
                future, read = pending.popleft()
                ahead -= read
                yield future.result()
            pending.append((pool.submit(_read, path), length))
            ahead += length
        while pending:
            yield pending.popleft()[0].result()


def _read(path: str) -> bytes | OSError:
    try:
        return read(path)
    except OSError as error:
        return error


def _is_image(name: str) -> bool:
    base = posixpath.basename(name)
    return base.lower().endswith(SUFFIXES) and not base.startswith((".", "_"))


def _modified(info: dict[str, Any]) -> datetime | int:
    """Modification time of a file: local files carry seconds, object stores a datetime."""
    if "mtime" in info and not isinstance(info["mtime"], datetime):
        return int(info["mtime"] * 1_000_000)
    modified: datetime = info.get("LastModified") or info["mtime"]
    return modified


def _text(name: str) -> str:
    """A name fit for a table; one that is not UTF-8 is escaped (and will be found unreadable)."""
    return name.encode("utf-8", "backslashreplace").decode()
