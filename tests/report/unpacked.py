"""Reads the data in a page, like its JavaScript, but with other code."""

import base64
import gzip
import json
import re
from typing import Any

import numpy as np


def block(page: str, name: str) -> str:
    """The text of a script element that contains data."""
    found = re.findall(rf'<script type="[\w/]+" id="{name}">(.*?)</script>', page, re.S)
    assert len(found) == 1
    return str(found[0])


def unpack(text: str) -> dict[str, Any]:
    """Unpacks the result of `fruits.report.package.package`."""
    content = gzip.decompress(base64.b64decode(text))
    length = int.from_bytes(content[:4], "little")
    about: dict[str, Any] = json.loads(content[4 : 4 + length])
    for name, one in about["arrays"].items():
        start = 4 + length + one["at"]
        about[name] = np.frombuffer(content, one["type"], one["length"], start)
    return about


def map_of(page: str) -> dict[str, Any]:
    """The data of the map."""
    return unpack(block(page, "map-data"))


def thumbnails_of(page: str) -> list[bytes]:
    """The JPEG files of the map; empty for an image without one."""
    data, bodies = map_of(page), base64.b64decode(block(page, "map-thumbnails"))
    header, at = base64.b64decode(data["thumbnails"]["header"]), data["thumbnails"]["sizeAt"]
    found = []
    for n in range(data["count"]):
        body = bodies[data["offsets"][n] : data["offsets"][n + 1]]
        width, height = data["sizes"][2 * n : 2 * n + 2].tolist()
        size = height.to_bytes(2) + width.to_bytes(2)
        found.append(header[:at] + size + header[at + 4 :] + body if body else b"")
    return found
