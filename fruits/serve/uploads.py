"""Stores photographs with consent, in folders that ``fruits run`` can read.

    URI/LABEL/SHA-256.jpg        LABEL is the predicted label, or "unknown"

A person can review the folders, move wrong photographs, and use them for the next run.
"""

import asyncio
import hashlib
import logging
from typing import Any
from urllib.parse import quote

from fruits.images.formats import SUFFIXES_BY_FORMAT, format_of
from fruits.storage.failures import store_errors
from fruits.storage.files import create
from fruits.storage.location import Location

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
# The most bytes of the name of a folder in most file systems.
MOST_BYTES = 255


class Uploads:
    """The folder for stored photographs.

    Args:
        place: path or URI of the folder.
    """

    def __init__(self, place: str) -> None:
        # Requests do not wait for a store that does not respond.
        self._place = Location.of(place, retry=False)

    async def keep(self, contents: list[bytes], answers: list[dict[str, Any]]) -> int:
        """Stores the photographs that could be used, and returns their number.

        After one that cannot be written it ends, with a line in the log.
        """
        good = [
            (content, UNKNOWN if answer["unknown"] else answer["label"])
            for content, answer in zip(contents, answers, strict=True)
            if "error" not in answer
        ]
        for kept, (content, label) in enumerate(good):
            try:
                await asyncio.to_thread(_write, self._file(content, label), bytes(content))
            except Exception as error:  # The prediction is returned, whatever a store raises.
                # Without the label: logs contain nothing about the photographs.
                reason = str(error).replace(f"/{folder_of(label)}", "")
                log.error("photographs could not be kept: %s", reason)
                return kept
        return len(good)

    def _file(self, content: bytes, label: str) -> Location:
        suffix = SUFFIXES_BY_FORMAT[format_of(content) or "JPEG"][0]
        name = f"{hashlib.sha256(content).hexdigest()}{suffix}"
        return self._place / folder_of(label) / name


def _write(file: Location, content: bytes) -> None:
    with store_errors(file.uri):
        create(file, content)


def folder_of(label: str) -> str:
    """The name of the folder of a label.

    The next run reads the name as the label. It is the same label, unless it has characters that
    are escaped as in URIs, because the name of a folder cannot have them: slashes, characters that
    are not printable, and a dot at the beginning, which would hide the folder. Long names are
    truncated.
    """
    letters = (
        one if one.isprintable() and one != "/" else quote(one, "", errors="surrogatepass")
        for one in label
    )
    name = "".join(letters)
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    return name.encode()[:MOST_BYTES].decode("utf-8", "ignore") or UNKNOWN
