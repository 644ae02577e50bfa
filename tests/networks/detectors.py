"""Small detectors that detect the left and the right half of a picture if they are bright."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from onnx_bytes import field, model, node, tensor
from openvino import opset13 as ops
from PIL import Image

SIDE = 32
HALVES = np.array([[0, 0, SIDE / 2, SIDE], [SIDE / 2, 0, SIDE, SIDE]], np.float32)
CENTRED = np.array([[8, 16, 16, 32], [24, 16, 16, 32]], np.float32)
INPUT = {
    "height": SIDE,
    "resize": "squash",
    "interpolation": "bilinear",
    "rescale": 1 / 255,
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
    "channels": "RGB",
}
# The settings of each format that cannot be detected.
DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "torchvision": {},
    "detr": {"activation": "softmax"},
    "sigmoid": {"activation": "sigmoid"},
    "yolov5": {"format": "yolov5"},
    "yolov8": {"format": "yolov8"},
    "yolov10": {"format": "yolov10"},
    "ssd": {},
}


def write_detector(place: Path, form: str = "torchvision", **words: Any) -> Path:
    """Writes a folder with a detector of a format and its description.

    Args:
        place: of the folder.
        form: a key of :data:`DESCRIPTIONS`.
        words: others of its description; those of ``detector`` in a dictionary.
    """
    place.mkdir(parents=True, exist_ok=True)
    openvino.save_model(halves(form), place / "model.xml", compress_to_fp16=False)
    write_description(place, DESCRIPTIONS[form], **words)
    return place


def write_description(place: Path, description: dict[str, Any], **words: Any) -> None:
    detector = description | words.pop("detector", {})
    (place / "input.json").write_text(json.dumps(INPUT | words | {"detector": detector}))


def halves(form: str) -> Any:
    """A network whose scores are the brightness of each half."""
    image = ops.parameter([1, 3, SIDE, SIDE], np.float32, "image")
    kernel = [SIDE, SIDE // 2]
    pooled = ops.avg_pool(image, kernel, [0, 0], [0, 0], kernel, False, "floor")
    scores = ops.reshape(ops.reduce_mean(pooled, [1]), [2], False)
    outputs = []
    for name, one in _outputs(form, scores).items():
        result = ops.result(one)
        result.output(0).set_names({name})
        outputs.append(result)
    image.output(0).set_names({"image"})
    return openvino.Model(outputs, [image])


def _outputs(form: str, scores: Any) -> dict[str, Any]:
    column = ops.reshape(scores, [2, 1], False)
    other = ops.subtract(ops.constant(np.float32(1)), column)
    zeros, ones = np.zeros((2, 1), np.float32), np.ones((2, 1), np.float32)
    if form == "torchvision":
        return {"scores": scores, "boxes": ops.constant(HALVES), "labels": ops.constant([1, 2])}
    if form in ("detr", "sigmoid"):
        logs = ops.log(ops.concat([column, other], 1))
        if form == "sigmoid":
            logs = ops.subtract(ops.log(column), ops.log(other))
        boxes = ops.constant((CENTRED / SIDE)[None])
        return {"logits": ops.unsqueeze(logs, 0), "pred_boxes": boxes}
    if form == "yolov8":
        rows = ops.concat([ops.constant(CENTRED), column, ops.constant(zeros)], 1)
        return {"output0": ops.unsqueeze(ops.transpose(rows, [1, 0]), 0)}
    if form == "yolov5":
        rows = ops.concat([ops.constant(CENTRED), column, ops.constant(ones)], 1)
        return {"output0": ops.unsqueeze(rows, 0)}
    if form == "yolov10":
        rows = ops.concat([ops.constant(HALVES), column, ops.constant(zeros)], 1)
        return {"output0": ops.unsqueeze(rows, 0)}
    rows = ops.concat(
        [ops.constant(zeros), ops.constant(ones), column, ops.constant(HALVES / SIDE)], 1
    )
    end = ops.constant(np.array([[-1, 1, 1, 0, 0, 1, 1]], np.float32))
    return {"detection_out": ops.reshape(ops.concat([rows, end], 0), [1, 1, 3, 7], False)}


def masked(shape: list[int]) -> Any:
    """A DETR with a mask that marks the photograph, like that of transformers.

    Boxes are relative to the marked part, and scores are lower if the mask marks less.
    """
    mask = ops.parameter(shape, np.int64, "pixel_mask")
    mask.output(0).set_names({"pixel_mask"})
    filled = ops.convert(mask, np.float32)
    part = ops.reduce_mean(filled, [0, 1, 2])
    plain = halves("detr")
    logits, boxes = (one.input_value(0) for one in plain.get_results())
    outputs = {"logits": ops.add(logits, ops.log(part)), "pred_boxes": ops.multiply(boxes, part)}
    return _network(outputs, [*plain.get_parameters(), mask])


def scaled_to_sizes() -> Any:
    """An export of RT-DETR: corners are in pixels of the given width and height."""
    sizes = ops.parameter([-1, 2], np.int64, "orig_target_sizes")
    sizes.output(0).set_names({"orig_target_sizes"})
    plain = halves("torchvision")
    scores, _, labels = (one.input_value(0) for one in plain.get_results())
    both = ops.convert(ops.concat([sizes, sizes], 1), np.float32)
    corners = ops.multiply(ops.constant((HALVES / SIDE)[None]), ops.unsqueeze(both, 1))
    outputs = {"labels": labels, "boxes": corners, "scores": ops.unsqueeze(scores, 0)}
    return _network(outputs, [*plain.get_parameters(), sizes])


def _network(outputs: dict[str, Any], inputs: list[Any]) -> Any:
    results = [ops.result(one) for one in outputs.values()]
    for name, result in zip(outputs, results, strict=True):
        result.output(0).set_names({name})
    return openvino.Model(results, inputs)


def as_onnx() -> bytes:
    """The same as an export of torchvision: one image without a batch dimension."""
    kernel = _ints("kernel_shape", [SIDE, SIDE // 2]) + _ints("strides", [SIDE, SIDE // 2])
    four = np.array([1, 3, SIDE, SIDE], np.int64)
    return model(
        [
            node("Reshape", ["image", "four"], "batch"),
            node("AveragePool", ["batch"], "pooled", attributes=kernel),
            node("ReduceMean", ["pooled"], "mean", attributes=_ints("axes", [1])),
            node("Reshape", ["mean", "two"], "scores"),
            node("Identity", ["halves"], "boxes"),
        ],
        [tensor("four", four), tensor("two", np.array([2], np.int64)), tensor("halves", HALVES)],
        {"boxes": [2, 4], "scores": [2]},
        {"image": [3, SIDE, SIDE]},
    )


def _ints(name: str, values: list[int]) -> bytes:
    """An attribute of a node: a list of whole numbers."""
    numbers = b"".join(field(8, value) for value in values)
    return field(5, field(1, name) + numbers + field(20, 7))


def bright_halves(image: Image.Image, score: float = 0.5) -> list[tuple[int, int, int, int]]:
    """The boxes that such a detector finds, computed with NumPy: the brighter half first."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=None)
    pixels = np.asarray(small, np.float64) / 255
    middle = round(image.width / 2)
    found = [
        (pixels[:, : SIDE // 2].mean(), (0, 0, middle, image.height)),
        (pixels[:, SIDE // 2 :].mean(), (middle, 0, image.width, image.height)),
    ]
    return [box for light, box in sorted(found, reverse=True) if light >= score]


def two_halves(left: int, right: int, size: tuple[int, int] = (60, 40), seed: int = 0) -> Any:
    """A picture with noise and a given brightness of each half."""
    rng = np.random.default_rng(seed)
    width, height = size
    pixels = rng.normal(0, 12, (height, width, 3))
    pixels[:, : width // 2] += left
    pixels[:, width // 2 :] += right
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
