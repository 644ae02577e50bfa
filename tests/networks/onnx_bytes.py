"""Writes ONNX files byte by byte, so that a test can put anything into them.

The numbers are those of the fields in ``onnx.proto``.
"""

import numpy as np

FLOAT, INT64 = 1, 7


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def tensor(name: str, values: np.ndarray, file: str | None = None) -> bytes:
    kind = INT64 if values.dtype == np.int64 else FLOAT
    about = b"".join(field(1, side) for side in values.shape) + field(2, kind) + field(8, name)
    if file is None:
        return about + field(9, values.tobytes())
    entry = field(1, "location") + field(2, file)
    return about + field(13, entry) + field(14, 1)


def node(
    kind: str, inputs: list[str], output: str, domain: str = "", attributes: bytes = b""
) -> bytes:
    ends = b"".join(field(1, name) for name in inputs) + field(2, output)
    return ends + field(4, kind) + attributes + (field(7, domain) if domain else b"")


def value(name: str, shape: list[int | str]) -> bytes:
    sides = (field(1, side) if isinstance(side, int) else field(2, side) for side in shape)
    dimensions = b"".join(field(1, side) for side in sides)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, dimensions)))


def model(
    nodes: list[bytes],
    tensors: list[bytes],
    outputs: dict[str, list[int | str]],
    inputs: dict[str, list[int | str]] | None = None,
) -> bytes:
    inputs = inputs or {"image": ["n", 3, "h", "w"]}
    graph = b"".join(field(1, one) for one in nodes) + field(2, "graph")
    graph += b"".join(field(5, one) for one in tensors)
    graph += b"".join(field(11, value(*one)) for one in inputs.items())
    graph += b"".join(field(12, value(*one)) for one in outputs.items())
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 17))


def colours(weights: np.ndarray, file: str | None = None, **outputs: list[int | str]) -> bytes:
    """A network whose features are the mean colours times weights (3, d)."""
    return model(
        [
            node("GlobalAveragePool", ["image"], "mean"),
            node("Reshape", ["mean", "shape"], "colour"),
            node("MatMul", ["colour", "weights"], "features"),
            node("Softmax", ["features"], "chances"),
        ],
        [
            tensor("shape", np.array([-1, 3], np.int64)),
            tensor("weights", weights.astype(np.float32), file),
        ],
        outputs or {"features": ["n", weights.shape[1]]},
    )
