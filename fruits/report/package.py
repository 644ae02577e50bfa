"""Packs arrays and texts into one compressed text that JavaScript unpacks."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNED = 8


def package(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """Packs values and arrays as gzip in base64, which needs no escapes in HTML.

    The content is the length of a description (uint32), the description in JSON, padded with spaces
    to :data:`_ALIGNED` bytes, and the arrays, padded likewise. The description's key ``arrays`` has
    the type, position and length of each array.

    Args:
        about: Values for JSON.
        arrays: The arrays by name: little-endian int8, uint8, uint16, uint32 or float32, of any
            shape.
    """
    places, parts, at = {}, [], 0
    for name, array in arrays.items():
        content = _padded(np.ascontiguousarray(array).tobytes(), b"\0")
        places[name] = {"type": str(array.dtype), "at": at, "length": array.size}
        parts.append(content)
        at += len(content)
    text = json.dumps({**about, "arrays": places}, ensure_ascii=False).encode()
    padding = b" " * (-(4 + len(text)) % _ALIGNED)
    head = [(len(text) + len(padding)).to_bytes(4, "little"), text, padding]
    # The fastest level, since coordinates cannot be compressed much.
    packed = gzip.compress(b"".join([*head, *parts]), compresslevel=1, mtime=0)
    return base64.b64encode(packed).decode()


def _padded(content: bytes, by: bytes) -> bytes:
    return content + by * (-len(content) % _ALIGNED)
