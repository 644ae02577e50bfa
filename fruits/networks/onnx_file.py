"""Finds the files and custom operations that an ONNX file refers to, by parsing its bytes.

It only walks through the protocol buffers and builds no objects. The numbers are those of the
fields in ``onnx.proto``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fruits.errors import BackboneError

# Standard domains of operations. OpenVINO also supports some of Microsoft's operations, which the
# optimiser of ONNX Runtime writes.
STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


# Messages that may contain something of interest, by the number of the field.
_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION, _ENTRY = range(8)


_INSIDE = {
    _MODEL: {7: _GRAPH, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TENSOR: {13: _ENTRY},
}


_DEEPEST = 50


@dataclass(frozen=True)
class References:
    """The external references of an ONNX file.

    Attributes:
        files: The names of the files with values of constants.
        domains: The domains of operations that are neither standard nor defined in the file.
    """

    files: frozenset[str]
    domains: frozenset[str]


def references(content: bytes) -> References:
    """The external references of an ONNX file.

    Raises:
        BackboneError: the content is damaged, or is not an ONNX file.
    """
    files, used, defined, graphs = set[str](), set[str](), set[str](), 0
    try:
        for kind, fields in _messages(memoryview(content), _MODEL, 0):
            if kind == _GRAPH:
                graphs += 1
            elif kind == _NODE:
                used.update(_texts(fields, 7))
            elif kind == _FUNCTION:
                defined.update(_texts(fields, 10)[-1:])
            elif kind == _ENTRY and "location" in _texts(fields, 1):
                files.update(_texts(fields, 2))
    except (ValueError, IndexError) as error:
        raise BackboneError(f"wanted an ONNX file; the data is damaged: {error}") from error
    if not graphs:
        raise BackboneError("wanted an ONNX file; got one without a graph")
    return References(frozenset(files), frozenset(used - defined - {*STANDARD_DOMAINS}))


Fields = list[tuple[int, memoryview]]


def _messages(data: memoryview, kind: int, depth: int) -> Iterator[tuple[int, Fields]]:
    """Yields this message and all nested ones: the kind, and the fields with a length."""
    if depth > _DEEPEST:
        raise ValueError("graphs nested too deeply")
    fields = list(_fields(data))
    yield kind, fields
    for number, value in fields:
        if (inside := _INSIDE.get(kind, {}).get(number)) is not None:
            yield from _messages(value, inside, depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields the fields of a message that have a length: strings, bytes and messages."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        if not 8 <= key < 1 << 32:  # Some readers use only 32 bits of it.
            raise ValueError(f"a field of the number {key >> 3}")
        wire = key & 7
        if wire == 2:
            length, place = _varint(data, place)
            if place + length > len(data):
                raise ValueError("it ends early")
            yield key >> 3, data[place : place + length]
            place += length
        elif wire == 0:
            _, place = _varint(data, place)
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        else:
            raise ValueError(f"a field of the kind {wire}")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number without end")


def _texts(fields: Fields, number: int) -> list[str]:
    """All values of a repeated field; readers may use the last or the first one."""
    return [str(value, "utf-8") for field, value in fields if field == number]
