"""What the server and a process that predicts write to each other: JSON and bytes, no pickle.

A frame is the length of its JSON (4 bytes), the length of its content (8 bytes), JSON, content. A
process in which a decoder was taken over can thus send wrong answers, and no code.
"""

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import IO, Any

_HEAD = struct.Struct("<IQ")


def pack(value: Any, contents: Sequence[bytes] = ()) -> list[bytes]:
    """The parts of a frame."""
    text = json.dumps(value, separators=(",", ":")).encode()
    return [_HEAD.pack(len(text), sum(map(len, contents))), text, *contents]


def read(file: IO[bytes]) -> tuple[Any, bytes]:
    """The JSON and the content of the next frame.

    Raises:
        EOFError: there is none.
    """
    text, content = _HEAD.unpack(_exactly(file, _HEAD.size))
    return json.loads(_exactly(file, text)), _exactly(file, content)


async def receive(reader: asyncio.StreamReader) -> Any:
    """The JSON of the next frame, which has no content.

    Raises:
        EOFError: there is none (asyncio.IncompleteReadError).
    """
    text, _ = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    return json.loads(await reader.readexactly(text))


def _exactly(file: IO[bytes], length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data
