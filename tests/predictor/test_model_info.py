"""The OpenVINO model in the folder, used without this package."""

import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from fruits.classify.fit import Discriminant
from fruits.classify.transforms import TRANSFORMS, transform_features
from fruits.features.moments import Moments
from fruits.images.decode import decode
from fruits.networks.graph import InputSpec
from fruits.predictor import Predictor
from fruits.predictor.model_info import classification_model, model_info, probabilities_of


def probabilities(model: openvino.Model, pixels: np.ndarray) -> np.ndarray:
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.stack([compiled(one[np.newaxis])[0][0] for one in pixels])


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_model_computes_the_probabilities_of_the_classifier(
    trained: Any, transform: str
) -> None:
    classifier = replace(trained.classifier, transform=transform)
    files = classification_model(trained.graph, classifier)
    model = openvino.Core().read_model(model=files["model.xml"], weights=files["model.bin"])
    pixels = np.stack([decode(content, 224) for content in trained.tested])
    expected = classifier.probabilities(trained.tested_features)
    np.testing.assert_allclose(probabilities(model, pixels), expected, atol=2e-4)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_features_of_any_sign_and_size_give_the_probabilities_of_the_classifier(
    transform: str,
) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(60, 40)) * np.exp(rng.normal(size=(60, 1)))).astype(np.float32)
    moments = Moments.of(transform_features(x, transform), ["a", "b", "c"] * 20)
    classifier = Discriminant.of(moments).classifier(0.5, transform)
    x[0], x[1], x[2], x[3, ::2] = 0, -x[2], x[2] * 1e-20, 0
    features = openvino.opset13.parameter([-1, 40], np.float32)
    model = openvino.Model([probabilities_of(features, classifier)], [features], "classifier")
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    found = compiled(x)[0]

    np.testing.assert_allclose(found, classifier.probabilities(x), atol=1e-5)


def test_the_model_in_the_folder_describes_its_input_and_output(trained: Any, folder: Path) -> None:
    model = openvino.Core().read_model(folder / "model.xml")
    [pixels], [chances] = model.inputs, model.outputs
    assert (pixels.any_name, list(pixels.shape)) == ("image", [1, 224, 224, 3])
    assert pixels.element_type == openvino.Type.u8
    assert openvino.layout_helpers.get_layout(pixels) == openvino.Layout("NHWC")
    assert (chances.any_name, list(chances.shape)) == ("probabilities", [1, 4])
    info = {name: model.get_rt_info(["model_info", name]).astype(str) for name in INFO}
    assert info["model_type"] == "Classification"
    labels = info["labels"].split()
    assert labels == [re.sub(" ", "_", label) for label in trained.classifier.labels]
    assert info["reverse_input_channels"] == "True"
    assert info["resize_type"] == "standard"


INFO = model_info(("a",), InputSpec())


def test_spaces_in_labels_become_underscores() -> None:
    labels = ("Apple Red 1", "Pêche #1 50%", "a\tb", "  ", "v1.2")
    assert model_info(labels, InputSpec())["labels"].split() == [
        *("Apple_Red_1", "Pêche_#1_50%", "a_b", "_", "v1.2")
    ]


def test_different_labels_stay_different_and_have_no_control_characters() -> None:
    labels = ("a b", "a  b", "a_b", "a_b_2", "x\0\x01\x7f\x85\ufffey", "\b", " ")
    model = classification_info(labels)
    assert model.split() == [*("a_b", "a_b_3", "a_b_4", "a_b_2"), *("x_y", "_", "__2")]


def classification_info(labels: tuple[str, ...]) -> str:
    """The labels after OpenVINO has written and read them as XML."""
    one = openvino.opset13.parameter([1], np.float32)
    model = openvino.Model([one], [one], "labels")
    model.set_rt_info(model_info(labels, InputSpec())["labels"], ["model_info", "labels"])
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, Path(folder) / "model.xml")
        read = openvino.Core().read_model(Path(folder) / "model.xml")
        return str(read.get_rt_info(["model_info", "labels"]).astype(str))


def test_the_network_in_the_folder_is_a_separate_model(trained: Any, folder: Path) -> None:
    model = openvino.Core().read_model(folder / "graph.xml")
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    pair = np.stack([decode(content, 224) for content in trained.contents[:2]])
    np.testing.assert_allclose(compiled(pair)[0], trained.features[:2], atol=1e-4)


PAGE = Path(__file__).parents[2] / "docs/predictor.md"


def example(word: str, folder: Path, picture: Path) -> str:
    """The output of an example in the documentation, with a real folder and file."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    [code] = [block for block in blocks if word in block]
    code = code.replace("data/out/predictor", str(folder)).replace("photo.jpg", str(picture))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("word", ["import openvino", "import cv2"])
def test_the_examples_in_the_documentation_give_the_labels_of_the_predictor(
    trained: Any, folder: Path, predictor: Predictor, tmp_path: Path, word: str
) -> None:
    if word == "import cv2":
        pytest.importorskip("model_api", reason="needs the package openvino-model-api")
    picture = tmp_path / "picture.jpg"
    for content in trained.tested[::5]:
        picture.write_bytes(content)
        label, probability = example(word, folder, picture).split()
        expected = predictor.predict(content)
        assert label == expected.label.replace(" ", "_")
        assert float(probability) == pytest.approx(expected.confidence, abs=0.02)
