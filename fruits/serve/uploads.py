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
        # A label may hold what is no name of a folder.
        folder = quote(label, safe=" ()&,'+").lstrip(".") or UNKNOWN
        return (self._place / folder / f"{hashlib.sha256(content).hexdigest()}{suffix}").uri
