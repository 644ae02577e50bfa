"""Reads the files in the folder of a network, and no others."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fruits.errors import BackboneError, one_line
from fruits.storage.location import Location, is_local

_MOST_JSON = 1 << 20


def read_json(location: Location, name: str) -> dict[str, Any]:
    """The content of a JSON file of the folder; an empty dict if there is no file.

    Raises:
        BackboneError: the content is not a JSON object.
    """
    if not location.filesystem.exists((location / name).path):
        return {}
    try:
        found = json.loads(read_content(location, name, _MOST_JSON))
    except (ValueError, RecursionError) as error:
        raise BackboneError(f"{name} is not JSON: {one_line(error)}") from None
    if not isinstance(found, dict):
        raise BackboneError(f"{name}: wanted an object; got {type(found).__name__}")
    return found


def read_content(location: Location, name: str, most: int) -> bytes:
    """The content of a file of the folder.

    Raises:
        BackboneError: the file is longer than ``most`` bytes.
    """
    with opened(location, name) as file:
        content: bytes = file.read(most + 1)
    if len(content) > most:
        raise BackboneError(f"{name}: wanted at most {most:,} bytes")
    return content


def sha256_of(location: Location, name: str) -> str:
    """The SHA-256 of a file of the folder, in hexadecimal."""
    with opened(location, name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened(location: Location, name: str) -> Iterator[Any]:
    """Opens a file of the folder.

    A link may lead to another file in the folder, or to the files of the same repository in Hugging
    Face's cache.
    """
    path = (location / name).path
    if is_local(location.filesystem):
        folder = os.path.realpath(location.path)
        blobs = os.path.join(os.path.dirname(os.path.dirname(folder)), "blobs")
        real = os.path.realpath(path)
        if not any(real.startswith(f"{parent}/") for parent in (folder, blobs)):
            raise BackboneError(
                f"wanted all files inside of the folder; {name} is a link to {real}"
            )
    with location.filesystem.open(path, "rb") as file:
        yield file
