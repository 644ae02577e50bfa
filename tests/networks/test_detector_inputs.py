"""Detectors with additional inputs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from detectors import (
    SIDE,
    bright_halves,
    halves,
    masked,
    scaled_to_sizes,
    two_halves,
    write_description,
)
from openvino import opset13 as ops

from fruits.errors import BackboneError
from fruits.networks.boxes import boxes_of
from fruits.networks.compile_detector import compile_detector

PICTURES = [two_halves(*pair, seed=n) for n, pair in enumerate([(200, 40), (30, 210), (170, 220)])]


def write(place: Path, network: Any, description: dict[str, Any], **words: Any) -> str:
    openvino.save_model(network, place / "model.xml", compress_to_fp16=False)
    write_description(place, description, **words)
    return str(place)


def boxes_in(place: str, picture: Any) -> list[Any]:
    """The boxes of a picture, computed only with the compiled files."""
    detector, parts = compile_detector(place)
    network = openvino.Core().read_model(parts["detector.xml"], parts["detector.bin"])
    assert len(network.inputs) == 1
    request = openvino.Core().compile_model(network, "CPU").create_infer_request()
    small = np.asarray(picture.resize((SIDE, SIDE), 2, reducing_gap=None))
    found = request.infer([small[None]])
    return boxes_of(list(found.values()), detector, *picture.size)


@pytest.mark.parametrize("shape", [[-1, -1, -1], [1, SIDE, SIDE], [-1, 8, 8]])
def test_a_mask_of_pixels_is_all_ones(tmp_path: Path, shape: list[int]) -> None:
    """The mask of some exports has another size."""
    place = write(tmp_path, masked(shape), {"activation": "softmax"})
    assert [boxes_in(place, one) for one in PICTURES] == list(map(bright_halves, PICTURES))


def test_the_size_input_is_the_size_of_the_network(tmp_path: Path) -> None:
    place = write(tmp_path, scaled_to_sizes(), {})
    assert [boxes_in(place, one) for one in PICTURES] == list(map(bright_halves, PICTURES))


def test_an_ambiguous_input_is_one_line(tmp_path: Path) -> None:
    place = write(tmp_path, masked([1, SIDE, SIDE]), {"activation": "softmax"}, resize="pad")
    with pytest.raises(BackboneError, match=r"pixel_mask would have to mark .*write \"squash\""):
        compile_detector(place)
    description = json.loads((tmp_path / "input.json").read_text())
    (tmp_path / "input.json").write_text(
        json.dumps(description | {"resize": "squash", "width": 64})
    )
    openvino.save_model(scaled_to_sizes(), tmp_path / "model.xml")
    with pytest.raises(BackboneError, match=r"begins with the width or the height; got 64 x 32"):
        compile_detector(place)


def test_another_input_is_refused_by_name(tmp_path: Path) -> None:
    plain = halves("torchvision")
    scale = ops.parameter([1, 2], np.float32, "scale_factor")
    scale.output(0).set_names({"scale_factor"})
    network = openvino.Model(plain.get_results(), [*plain.get_parameters(), scale])
    with pytest.raises(BackboneError, match=r"only input is an image; got the inputs .*scale_fac"):
        compile_detector(write(tmp_path, network, {}))
