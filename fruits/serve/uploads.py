"""Photographs that are kept with consent, in folders that ``fruits run`` reads.

    URI/LABEL/SHA-256.jpg        LABEL is what the model said, "unknown" where it did not know

Someone looks through the folders, moves what is wrong, and gives them to the next run.
"""

import asyncio
import hashlib
from typing import Any
from urllib.parse import quote

from fruits.sources.formats import SUFFIXES_BY_FORMAT, format_of
from fruits.storage.files import create
from fruits.storage.location import Location

UNKNOWN = "unknown"
# Of the name of a folder, for most file systems.
MOST_BYTES = 255


class Uploads:
    """The folder where photographs are kept.

    Args:
        place: path or URI of the folder.
    """

    def __init__(self, place: str) -> None:
        self._place = Location.of(place)

    async def keep(self, contents: list[bytes], answers: list[dict[str, Any]]) -> int:
        """Keeps the photographs that could be used; returns how many there are.

        Raises:
            OSError: they cannot be written.
            StorageError: the store cannot be used.
        """
        good = [
            (content, UNKNOWN if answer["unknown"] else answer["label"])
            for content, answer in zip(contents, answers, strict=True)
            if "error" not in answer
        ]
        for content, label in good:
            await asyncio.to_thread(create, self._uri(content, label), bytes(content))
        return len(good)

    def _uri(self, content: bytes, label: str) -> str:
        suffix = SUFFIXES_BY_FORMAT[format_of(content) or "JPEG"][0]
        name = f"{hashlib.sha256(content).hexdigest()}{suffix}"
        return (self._place / folder_of(label) / name).uri


def folder_of(label: str) -> str:
    """The folder of a label: called like it, so that the next run reads the same label.

    What no name of a folder can have is quoted as in URIs: slashes, characters that cannot be
    shown, a dot at the beginning, which would hide the folder. Longer names are cut.
    """
    letters = (one if one.isprintable() and one != "/" else quote(one, "") for one in label)
    name = "".join(letters)
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    return name.encode()[:MOST_BYTES].decode("utf-8", "ignore") or UNKNOWN
