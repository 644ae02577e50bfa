"""The Open Inference Protocol, version 2: tensors in, tensors out.

The input is one tensor ``image`` of datatype BYTES and shape [n]: files in base64, or raw bytes
after the JSON, with the binary extension of the protocol.
"""

import base64
import binascii
import json
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from fruits.serve.engine import Answer
from fruits.serve.refusal import Refused
from fruits.serve.schemas import InferRequest, Tensor

# Name, datatype, and the other dimensions of one row; -1 if they depend on the model.
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

# The default outputs: components are returned only on request.
USUAL = tuple(name for name, _, _ in OUTPUTS if name != "components")

# Of the JSON of a request. Each value costs memory and time, and base64 has no comma.
MOST_VALUES = 10_000

# A header is a number of bytes: longer ones are none.
_LENGTH = re.compile(r"[0-9]{1,18}")


def metadata(name: str, version: str, engine: str) -> dict[str, Any]:
    """The metadata of a model, whose network runs in an engine such as "openvino"."""
    return {
        "name": name,
        "versions": [version],
        "platform": f"fruits_{engine}",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": [-1, *shape]}
            for output, datatype, shape in OUTPUTS
        ],
    }


def parse(body: bytes, json_length: str | None) -> tuple[InferRequest, list[bytes]]:
    """Parses a request and its images.

    Args:
        body: the body of the request.
        json_length: the header ``Inference-Header-Content-Length``, if it is there: the length of
            the JSON before the bytes of the images.

    Raises:
        Refused: the request is invalid.
    """
    if json_length is not None and not _LENGTH.fullmatch(json_length):
        raise _wrong("a number in the header Inference-Header-Content-Length")
    end = len(body) if json_length is None else int(json_length)
    if body.count(b",", 0, end) > MOST_VALUES:
        raise _wrong(f"at most {MOST_VALUES} values")
    try:
        request = InferRequest.model_validate(json.loads(body[:end]))
    except (ValueError, RecursionError, ValidationError):
        raise _wrong("JSON of the Open Inference Protocol") from None
    if [one.name for one in request.inputs] != ["image"] or request.inputs[0].datatype != "BYTES":
        raise _wrong("one input, named image, of datatype BYTES")
    tensor = request.inputs[0]
    images = _from_json(tensor) if tensor.data is not None else _from_bytes(tensor, body[end:])
    if tensor.shape != [len(images)] or not images:
        raise _wrong(f"a shape of [{max(1, len(images))}]")
    names = wanted(request)
    if len(set(names)) < len(names) or not {name for name, _, _ in OUTPUTS}.issuperset(names):
        raise _wrong("outputs that the model has, each once")
    return request, images


def wanted(request: InferRequest) -> tuple[str, ...]:
    """The names of the requested outputs."""
    if not request.outputs:
        return USUAL
    return tuple(output.name for output in request.outputs)


def response(
    request: InferRequest,
    answers: Sequence[Answer],
    name: str,
    version: str,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Makes the response to a request.

    Args:
        request: the request.
        answers: the results of the images, in order, all of one model.
        name: the name of the model.
        version: the version of the model.
        about: the information from the predictor, which has the shapes if no image is usable.
    """
    widths = {"top": min(5, len(about["labels"])), "components": about["components"]}
    if good := next((one for one in answers if "error" not in one), None):
        # The model may have changed after these results.
        widths = {name: len(good.get(name, ())) for name in widths}
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
    """The value of one image; for rejected images, "", 0, or true for unknown."""
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
        return [base64.b64decode(text, validate=True) for text in tensor.data or ()]  # type: ignore[arg-type]
    except (binascii.Error, ValueError, TypeError):
        raise _wrong("images in base64") from None


def _from_bytes(tensor: Tensor, data: bytes) -> list[bytes]:
    """Parses elements of the binary extension, which begin with their length in four bytes."""
    size = (tensor.parameters or {}).get("binary_data_size")
    if size != len(data):
        raise _wrong(f"a binary_data_size of {len(data)}")
    images, start = [], 0
    while start < len(data):
        head = data[start : start + 4]
        end = start + 4 + (struct.unpack("<I", head)[0] if len(head) == 4 else len(data))
        if end > len(data):
            raise _wrong("elements that fit the length of the data")
        images.append(data[start + 4 : end])
        start = end
    return images


def _wrong(what: str) -> Refused:
    return Refused(400, "protocol", f"infer: wanted {what}; got something else")
