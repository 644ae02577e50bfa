"""The messages between the server and a process that predicts: JSON and bytes, without pickle.

A frame is the length of its JSON (4 bytes), the length of its content (8 bytes), JSON, content. So
a process with a compromised decoder can send wrong results, but no code.
"""

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import IO, Any

from fruits.storage.streams import read_exactly

_HEAD = struct.Struct("<IQ")


def pack(value: Any, contents: Sequence[bytes] = ()) -> list[bytes]:
    """The parts of a frame."""
    text = json.dumps(value, separators=(",", ":")).encode()
    return [_HEAD.pack(len(text), sum(map(len, contents))), text, *contents]


def read(file: IO[bytes]) -> tuple[Any, bytes]:
    """Reads the JSON and the content of the next frame.

    Raises:
        EOFError: there are no more frames.
    """
    text, content = _HEAD.unpack(read_exactly(file, _HEAD.size))
    return json.loads(read_exactly(file, text)), read_exactly(file, content)


async def receive(reader: asyncio.StreamReader) -> Any:
    """Reads the JSON of the next frame, which has no content.

    Raises:
        EOFError: there are no more frames (asyncio.IncompleteReadError).
    """
    text, _ = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    return json.loads(await reader.readexactly(text))
