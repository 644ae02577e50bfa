"""Compiles the detector in a folder: uint8 RGB (1, h, w, 3) in, boxes out."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fruits.errors import BackboneError, FruitsError, one_line
from fruits.networks.boxes import boxes_of
from fruits.networks.compile_process import disable_telemetry, run_module, write_result
from fruits.networks.convert import (
    engine_reason,
    image_input,
    network_files,
    read_network,
    set_size,
    with_preprocessing,
)
from fruits.networks.detector import FORMATS, PARTS, Detector
from fruits.networks.detector_inputs import with_known_inputs
from fruits.networks.folder import DETECTOR, NetworkFolder, read_folder
from fruits.networks.graph_check import require_pure, require_safe_openvino
from fruits.networks.outputs import named_output, shapes_of

_MEANT = "what.json"


def compile_detector(place: str) -> tuple[Detector, dict[str, bytes]]:
    """Compiles the detector in a folder, see :mod:`fruits.networks.folder`.

    Args:
        place: path or URI of the folder.

    Returns:
        The detector, and the contents of :data:`fruits.networks.detector.PARTS` by name.

    Raises:
        BackboneError: there is no detector, or its inputs or outputs are unknown; nothing is
            guessed.
    """
    folder = read_folder(place, DETECTOR)
    if folder.kind == "keras":
        raise BackboneError(f"crop: {place}: wanted a detector as ONNX or OpenVINO IR; got Keras")
    with folder.copied(DETECTOR) as local, tempfile.TemporaryDirectory() as compiled:
        target = Path(compiled)
        _compile_in_subprocess(local, target)
        parts = {name: (target / name).read_bytes() for name in PARTS}
        meant = json.loads((target / _MEANT).read_text())
    return _detector(folder, meant), parts


def _detector(folder: NetworkFolder, meant: dict[str, Any]) -> Detector:
    """The detector of a folder, with a digest of everything that affects its boxes."""
    said = (folder.detector or {}) | meant
    found = Detector.of(folder.name, "", folder.recipe.input, said)
    decides = json.dumps([folder.sha256, found.describe()], sort_keys=True)
    return replace(found, sha256=hashlib.sha256(decides.encode()).hexdigest())


def _compile_in_subprocess(place: Path, target: Path) -> None:
    """Runs :func:`_compile` in a child process, which a damaged file may crash.

    Raises:
        BackboneError: the process refused the detector, with the reason in one line, or crashed.
    """
    done = run_module("fruits.networks.compile_detector", str(place), str(target))
    if done.returncode < 0:
        raise BackboneError(
            f"crop: {place.name}: the engine crashed while reading it: use another file of the "
            "detector"
        )
    if done.returncode:
        raise RuntimeError(f"compiling {place.name} failed:\n{done.stderr}")


def _compile(place: Path, target: Path) -> None:
    disable_telemetry()
    folder = read_folder(place, DETECTOR)
    try:
        model, meant = _pixels_to_boxes(
            _with_one_input(read_network(folder, place), folder), folder
        )
        require_pure(model)
        _try(model, _detector(folder, meant))
    except FruitsError as error:
        raise BackboneError(f"crop: {folder.name}: {error}") from None
    parts = network_files(model)
    require_safe_openvino(parts["graph.xml"], parts["graph.bin"])
    for name in PARTS:
        write_result(target / name, parts[name.replace("detector", "graph")])
    write_result(target / _MEANT, json.dumps(meant).encode())


def _with_one_input(model: Any, folder: NetworkFolder) -> Any:
    """The network with a batch of photographs as its only input."""
    return _with_batch(with_known_inputs(model, folder.recipe.input))


def _with_batch(model: Any) -> Any:
    """Adds a batch dimension, which exports of torchvision lack."""
    import openvino
    from openvino import opset13 as ops

    if len(model.inputs) != 1 or model.input(0).get_partial_shape().rank != 3:
        return model
    [old] = model.get_parameters()
    shape = openvino.PartialShape([1, *old.get_partial_shape()])
    new = ops.parameter(shape, old.get_element_type(), old.get_friendly_name())
    new.output(0).set_names(old.output(0).get_names())
    image = ops.squeeze(new, ops.constant([0])).output(0)
    for user in old.output(0).get_target_inputs():
        user.replace_source_output(image)
    return openvino.Model(model.get_results(), [new], "detector")


def _pixels_to_boxes(model: Any, folder: NetworkFolder) -> tuple[Any, dict[str, Any]]:
    """The network with its preprocessing and the needed outputs, and their format and names."""
    import openvino
    from openvino import opset13 as ops

    meant, ports = _outputs(model, folder)
    port, layout = image_input(model, folder.recipe)
    results = [ops.result(one) for one in ports]
    model = openvino.Model(results, [port.get_node()], "detector")
    set_size(model, model.input(0), layout, folder.recipe)
    sides = list(model.input(0).get_partial_shape())
    try:
        model.reshape(openvino.PartialShape([1, *sides[1:]]))
    except RuntimeError as error:
        raise BackboneError(
            f"wanted a detector that takes one photograph: {engine_reason(error)}"
        ) from error
    return with_preprocessing(model, layout, folder.recipe), meant


def _outputs(model: Any, folder: NetworkFolder) -> tuple[dict[str, Any], list[Any]]:
    """The format of the detector with the names of its outputs, and the outputs in order."""
    said = folder.detector or {}
    format_ = said.get("format") or _recognised(model)
    if not isinstance(format_, str) or format_ not in FORMATS:
        raise BackboneError(
            f"wanted the format of the detector's outputs; there {shapes_of(model)}: "
            f'write into input.json {{"detector": {{"format": "yolov8"}}}}, or another one of '
            f"{', '.join(f'{name} ({what})' for name, what in FORMATS.items())}"
        )
    named = said.get("outputs") or []
    _detector(folder, {"format": format_, "outputs": named})  # checks all settings
    names = list(named or _known_names(model, format_))
    if names:
        ports = [named_output(model, name) for name in names]
    elif len(model.outputs) == 1:
        ports = [model.outputs[0].get_node().input_value(0)]
    else:
        raise BackboneError(
            f"wanted one output for the format {format_}; there {shapes_of(model)}: "
            'write into input.json {"detector": {"outputs": ["NAME"]}}'
        )
    return {"format": format_, "outputs": names}, ports


def _known_names(model: Any, format_: str) -> list[str]:
    there = {name for port in model.outputs for name in port.get_names()}
    if format_ == "torchvision":
        return ["boxes", "scores", *(["labels"] if "labels" in there else [])]
    return ["logits", "pred_boxes"] if format_ == "detr" else []


def _recognised(model: Any) -> str | None:
    """The format, if the names or the shapes of the outputs allow only one."""
    there = {name for port in model.outputs for name in port.get_names()}
    if {"boxes", "scores"} <= there:
        return "torchvision"
    if {"logits", "pred_boxes"} <= there:
        return "detr"
    shape = model.outputs[0].get_partial_shape()
    if len(model.outputs) == 1 and shape.rank == 4:
        last = [side.get_length() if side.is_static else 0 for side in (shape[0], shape[1])]
        if shape[3] == 7 and max(last) <= 1:
            return "ssd"
    return None


def _try(model: Any, detector: Detector) -> None:
    """Runs the detector once, to check its outputs before any photograph is read."""
    import openvino

    spec = detector.input
    pixels = np.full((1, spec.height, spec.width, 3), 128, np.uint8)
    try:
        request = openvino.Core().compile_model(model, "CPU").create_infer_request()
        found = request.infer([pixels])
        boxes_of([found[n] for n in range(len(model.outputs))], detector, spec.width, spec.height)
    except (RuntimeError, ValueError, IndexError) as error:
        raise BackboneError(
            f"wanted outputs of the format {detector.format} ({FORMATS[detector.format]}); there "
            f"{shapes_of(model)}: {engine_reason(error)}"
        ) from error
    if detector.classes and detector.format == "torchvision" and len(model.outputs) < 3:
        raise BackboneError("detector: wanted no classes, because there is no output labels")


if __name__ == "__main__":
    try:
        _compile(Path(sys.argv[1]), Path(sys.argv[2]))
    except FruitsError as error:
        print(one_line(error), file=sys.stderr)
        sys.exit(2)
