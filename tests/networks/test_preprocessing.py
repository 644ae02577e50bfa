"""Preprocessing files of other libraries give the same pixels as these libraries.

tests/data/networks/make.py computed the expected values with transformers and timm.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import SIZES, drawn, places, png

from fruits.errors import BackboneError
from fruits.images.decode import decode
from fruits.networks import huggingface, model_info, timm_config
from fruits.networks.recipe import EXAMPLE, Recipe, recipe

DATA = Path(__file__).parents[1] / "data" / "networks"
CONFIGURATIONS = json.loads((DATA / "configurations.json").read_text())
EXPECTED = np.load(DATA / "configurations.npz")["pixels"]


def parsed(config: dict[str, Any]) -> dict[str, Any]:
    if timm_config.is_timm(config):
        return timm_config.preprocessing(config)
    return huggingface.preprocessing(config)


def network_input(content: bytes, about: Recipe) -> np.ndarray:
    """The input of a network, float64 (3, height, width), computed from the recipe."""
    values = decode(content, about.input).astype(np.float64)
    values = values[..., ::-1] if about.channels == "BGR" else values
    return np.moveaxis((values * about.rescale - about.mean) / about.std, -1, 0)


def names() -> list[str]:
    kinds = [one.get("image_processor_type", "timm") for one in CONFIGURATIONS]
    return [f"{kind}-{number}" for number, kind in enumerate(kinds)]


@pytest.mark.parametrize("number", range(len(CONFIGURATIONS)), ids=names())
def test_pixels_agree_with_the_library_of_the_file(number: int) -> None:
    about = recipe(parsed(CONFIGURATIONS[number]), "file")
    for size, expected in zip(SIZES, EXPECTED[number], strict=True):
        found = network_input(png(drawn(*size)), about)
        std = np.broadcast_to(np.array(about.std)[:, None, None], found.shape)
        chosen = places(found.shape)
        # In units of pixel values, from 0 to 255.
        difference = np.abs(found.ravel()[chosen] - expected) * std.ravel()[chosen] / about.rescale
        assert np.mean(difference <= 1.001) > 0.999, size
        assert difference.max() < 3, size
        # The differences between pictures are large, so the comparison is meaningful.
        assert np.ptp(expected) * std.min() / about.rescale > 50


VIT = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
    "resample": 2,
    "size": {"height": 224, "width": 224},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_processor_type": "PerceiverImageProcessor"}, "Perceiver.*, which may do more"),
        ({"image_processor_type": None}, "no image_processor_type"),
        ({"auto_map": {"AutoImageProcessor": "own.Own"}}, "auto_map.*not run"),
        ({"do_pad": True}, "not supported: do_pad"),
        ({"do_resize": False}, "no resizing"),
        ({"resample": None}, "no resample"),
        ({"resample": 9}, "resample 9"),
        ({"size": None}, "no size"),
        ({"size": {"shortest_edge": 224}}, "without a crop"),
        ({"size": {"longest_edge": 224}}, "without a crop"),
        ({"image_mean": None}, "no image_mean"),
        ({"image_mean": [0.5, "x", 0.5]}, "image_mean.*three numbers"),
        ({"do_normalize": None}, "no do_normalize"),
        ({"do_flip_channel_order": True}, "not supported: do_flip_channel_order"),
        ({"image_processor_type": "DeiTImageProcessor"}, "no do_center_crop"),
        ({"image_processor_type": "DINOv3ViTImageProcessorFast", "resample": 3}, "resample 3"),
        (
            {
                "image_processor_type": "RTDetrImageProcessor",
                "do_center_crop": True,
                "crop_size": 9,
            },
            "which its processor does not support",
        ),
        (
            {"size": {"height": 9, "width": 8}, "do_center_crop": True, "crop_size": 7},
            "a crop out of 9 x 8",
        ),
    ],
)
def test_unsupported_settings_of_a_processor_are_refused(
    changes: dict[str, Any], words: str
) -> None:
    huggingface.preprocessing(VIT)
    with pytest.raises(BackboneError, match=words):
        huggingface.preprocessing(VIT | changes)


@pytest.mark.parametrize(
    ("name", "size", "resize"),
    [("ViTFeatureExtractor", 224, "squash"), ("CLIPFeatureExtractor", 224, "shortest_edge")],
)
def test_a_plain_number_as_size_is_interpreted_as_by_the_processor(
    name: str, size: int, resize: str
) -> None:
    old = {key: value for key, value in VIT.items() if key not in ("do_rescale", "rescale_factor")}
    old |= {"image_processor_type": name, "size": size, "crop_size": size}
    found = huggingface.preprocessing(old | {"do_center_crop": name.startswith("CLIP")})
    assert (found["resize"], found["height"], found["rescale"]) == (resize, size, 1 / 255)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interpolation": ""}, "interpolation"),
        ({"interpolation": "random"}, "interpolation"),
        ({"mean": None}, "no mean"),
        ({"crop_pct": None}, "no crop_pct"),
        ({"crop_pct": 1.5}, "crop_pct 1.5"),
        ({"input_size": [1, 28, 28]}, "3 channels"),
        ({"input_size": [3, 224, 192]}, "224 x 192"),
        ({"crop_mode": "border"}, "'border'"),
        ({"crop_border_pixels": 4}, "crop_border_pixels"),
    ],
)
def test_unsupported_settings_of_timm_are_refused(changes: dict[str, Any], words: str) -> None:
    usual = CONFIGURATIONS[-5]["pretrained_cfg"]
    recipe(timm_config.preprocessing(usual), "")
    with pytest.raises(BackboneError, match=words):
        recipe(timm_config.preprocessing({"pretrained_cfg": usual | changes}), "")


def ir(section: str, shape: str = "1,3,96,128") -> bytes:
    return (
        f'<net><layers><layer id="0" type="Parameter" version="opset1"><data shape="{shape}" '
        f'element_type="f32"/></layer></layers><rt_info>{section}</rt_info></net>'
    ).encode()


def test_the_preprocessing_of_an_ir_is_read_from_model_info() -> None:
    fields = {
        "resize_type": "fit_to_window_letterbox",
        "pad_value": "114",
        "mean_values": "123.675 116.28 103.53",
        "scale_values": "58.395, 57.12, 57.375",
        "reverse_input_channels": "YES",
        "interpolation_mode": "LINEAR",
    }
    section = "".join(f'<{name} value="{value}" />' for name, value in fields.items())
    found = recipe(model_info.preprocessing(ir(f"<model_info>{section}</model_info>")), "")
    assert (found.input.height, found.input.width, found.input.resize) == (96, 128, "pad")
    assert (found.input.fill, found.input.interpolation) == ((114, 114, 114), "bilinear")
    assert (found.rescale, found.mean[0], found.std[2]) == (1, 123.675, 57.375)
    assert found.channels == "RGB"
    assert model_info.preprocessing(ir("")) == {}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ('<resize_type value="crop" />', "resize_type 'crop'"),
        ('<mean_values value="a b c" />', "wanted numbers"),
    ],
)
def test_unsupported_settings_of_model_info_are_refused(section: str, words: str) -> None:
    with pytest.raises(BackboneError, match=words):
        model_info.preprocessing(ir(f"<model_info>{section}</model_info>"))


def test_a_document_type_is_refused() -> None:
    with pytest.raises(BackboneError, match="document type"):
        model_info.preprocessing(b'<!DOCTYPE net [<!ENTITY a "aaa">]>' + ir(""))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hight": 3}, "hight"),
        ({"height": 0}, "height of 1 to 4096"),
        ({"height": "224"}, "height of 1 to 4096"),
        ({"edge": 100}, "an edge of 224 pixels or more"),
        ({"resize": "pad", "edge": 256}, "no edge"),
        ({"fill": [1, 2]}, "fill as three numbers"),
        ({"mean": [1, 2]}, "mean as three numbers"),
        ({"mean": [1, 2, float("nan")]}, "mean as three numbers"),
        ({"std": [1, 0, 1]}, "std as three numbers above 0"),
        ({"rescale": True}, "rescale as a number above 0"),
        ({"channels": "RGBA"}, "channels as one of RGB, BGR"),
        ({"layout": "CHWN"}, "layout as one of NCHW, NHWC"),
        ({"pooling": "max"}, "pooling as one of none, class_token, mean"),
        ({"output": 3}, "output as a name"),
        ({"prefix_tokens": -1}, "prefix_tokens"),
    ],
)
def test_an_invalid_field_of_input_json_is_refused(changes: dict[str, Any], words: str) -> None:
    complete = json.loads(EXAMPLE)
    recipe(complete, "input.json")
    with pytest.raises(BackboneError, match=words) as caught:
        recipe(complete | changes, "input.json")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("missing", sorted(json.loads(EXAMPLE).keys() - {"width"}))
def test_nothing_is_guessed(missing: str) -> None:
    complete = json.loads(EXAMPLE)
    del complete[missing]
    with pytest.raises(BackboneError, match=f"says nothing about {missing}") as caught:
        recipe(complete, "input.json")
    assert EXAMPLE in str(caught.value)


def test_a_picture_with_one_row_is_cropped_with_little_memory() -> None:
    about = recipe(json.loads(EXAMPLE) | {"resize": "shortest_edge", "edge": 256}, "input.json")
    strip = np.zeros((1, 100_000, 3), np.uint8)
    strip[:, 50_000:] = 255
    found = decode(png(strip), about.input)
    assert found.shape == (224, 224, 3)
    assert found[:, 0].max() < 30
    assert found[:, -1].min() > 225


@pytest.mark.parametrize(
    "value",
    [None, True, -1, 1.5, "x", [], [None], ["x"], [[1]], {}, {"a": 1}, float("nan")],
    ids=str,
)
@pytest.mark.parametrize("key", ["hidden_size", "projection_dim", "hidden_sizes", "num_labels"])
def test_an_invalid_width_is_ignored(key: str, value: object) -> None:
    assert huggingface.widths({key: value}) == (set(), set())


def test_widths_include_the_last_stage_and_nested_parts() -> None:
    config = {"hidden_sizes": [16, 32], "vision": {"hidden_size": 64}, "id2label": {"0": "Fig"}}
    assert huggingface.widths(config) == ({32, 64}, {1})
