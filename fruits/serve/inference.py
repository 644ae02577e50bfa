"""The Open Inference Protocol, version 2: tensors in, tensors out.

The input is one tensor ``image`` of datatype BYTES and shape [n]: files in base64, or as they are
after the JSON, with the binary extension of the protocol.
"""

import base64
import binascii
import json
import struct
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from fruits.serve.engine import Answer
from fruits.serve.refusal import Refused
from fruits.serve.schemas import InferRequest, Tensor

PLATFORM = "fruits_openvino"

# Name, datatype, and the sizes of one row's other dimensions: -1 where the model decides.
OUTPUTS: tuple[tuple[str, str, list[int]], ...] = (
    ("label", "BYTES", []),
    ("confidence", "FP64", []),
    ("unknown", "BOOL", []),
    ("distance", "FP64", []),
    ("top_label", "BYTES", [-1]),
    ("top_probability", "FP64", [-1]),
    ("error", "BYTES", []),
    ("components", "FP32", [-1]),
)

# Components only where they are asked for.
USUAL = tuple(name for name, _, _ in OUTPUTS if name != "components")


def metadata(name: str, version: str) -> dict[str, Any]:
    """What the protocol says of a model."""
    return {
        "name": name,
        "versions": [version],
        "platform": PLATFORM,
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": [-1, *shape]}
            for output, datatype, shape in OUTPUTS
        ],
    }


def parse(body: bytes, json_length: str | None) -> tuple[InferRequest, list[bytes]]:
    """The request and its images.

    Args:
        body: of the request.
        json_length: the header ``Inference-Header-Content-Length``, where there is one: the bytes
            of JSON, before those of the images.

    Raises:
        Refused: it is not such a request.
    """
    if json_length is not None and not json_length.isdecimal():
        raise _wrong("a number in the header Inference-Header-Content-Length")
    end = len(body) if json_length is None else int(json_length)
    try:
        request = InferRequest.model_validate(json.loads(body[:end]))
    except (ValueError, RecursionError, ValidationError):
        raise _wrong("JSON as the Open Inference Protocol has it") from None
    if [one.name for one in request.inputs] != ["image"] or request.inputs[0].datatype != "BYTES":
        raise _wrong("one input, named image, of datatype BYTES")
    tensor = request.inputs[0]
    images = _from_json(tensor) if tensor.data is not None else _from_bytes(tensor, body[end:])
    if tensor.shape != [len(images)] or not images:
        raise _wrong(f"a shape of [{max(1, len(images))}]")
    unknown = set(wanted(request)) - {name for name, _, _ in OUTPUTS}
    if unknown:
        raise _wrong("outputs that the model has")
    return request, images


def wanted(request: InferRequest) -> tuple[str, ...]:
    """The names of the outputs that a request asks for."""
    if not request.outputs:
        return USUAL
    return tuple(output.name for output in request.outputs)


def response(
    request: InferRequest,
    answers: Sequence[Answer],
    name: str,
    version: str,
    widths: dict[str, int],
) -> dict[str, Any]:
    """The answer to a request.

    Args:
        request: what was asked.
        answers: of the images, in order.
        name: of the model.
        version: of the model.
        widths: number of ``top`` labels and of ``components``, for images without an answer.
    """
    outputs = {output: (datatype, shape) for output, datatype, shape in OUTPUTS}
    tensors = []
    for output in wanted(request):
        datatype, shape = outputs[output]
        width = widths["components" if output == "components" else "top"]
        rows = [_value(answer, output, width) for answer in answers]
        data = [value for row in rows for value in row] if shape else rows
        size = [len(rows), *([width] if shape else [])]
        tensors.append({"name": output, "datatype": datatype, "shape": size, "data": data})
    found = {"model_name": name, "model_version": version, "outputs": tensors}
    return found if request.id is None else found | {"id": request.id}


def _value(answer: Answer, output: str, width: int) -> Any:
    """The value of one image; where there is none, "", 0 or true for unknown."""
    bad = "error" in answer
    if output == "error":
        return answer.get("error", "")
    if output == "top_label":
        return _padded([] if bad else [one["label"] for one in answer["top"]], width, "")
    if output == "top_probability":
        return _padded([] if bad else [one["probability"] for one in answer["top"]], width, 0.0)
    if output == "components":
        return _padded([] if bad else answer["components"], width, 0.0)
    return {"label": "", "unknown": True}.get(output, 0.0) if bad else answer[output]


def _padded(values: list[Any], width: int, filler: Any) -> list[Any]:
    return values[:width] + [filler] * (width - len(values))


def _from_json(tensor: Tensor) -> list[bytes]:
    try:
        return [base64.b64decode(str(text), validate=True) for text in tensor.data or ()]
    except (binascii.Error, ValueError):
        raise _wrong("images in base64") from None


def _from_bytes(tensor: Tensor, data: bytes) -> list[bytes]:
    """Elements of the binary extension: each after its length in four bytes."""
    size = (tensor.parameters or {}).get("binary_data_size")
    if size != len(data):
        raise _wrong(f"a binary_data_size of {len(data)}")
    images, start = [], 0
    while start < len(data):
        head = data[start : start + 4]
        end = start + 4 + (struct.unpack("<I", head)[0] if len(head) == 4 else len(data))
        if end > len(data):
            raise _wrong("elements that end where the data does")
        images.append(data[start + 4 : end])
        start = end
    return images


def _wrong(what: str) -> Refused:
    return Refused(400, "protocol", f"infer: wanted {what}; got something else")
