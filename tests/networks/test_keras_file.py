"""Keras 3 archives of any architecture are converted, and no code in them is run."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import SIZES, drawn, png

from fruits.errors import BackboneError
from fruits.images.decode import decode
from fruits.networks import batch
from fruits.networks.convert import graph_of
from fruits.networks.recipe import EXAMPLE
from fruits.networks.runtime import load

DESCRIPTION = json.loads(EXAMPLE) | {"height": 32, "width": 40, "channels": "BGR"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with a small network, and the part of the network up to its features."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((32, 40, 3))
    first = keras.layers.Conv2D(8, 3, strides=2, activation="gelu")(image)
    tokens = keras.layers.Reshape((-1, 8))(first)
    mixed = keras.layers.MultiHeadAttention(2, 4)(tokens, tokens)
    pooled = keras.layers.GlobalAveragePooling1D(name="pooled")(mixed)
    classes = keras.layers.Dense(5, activation="softmax")(pooled)
    folder = tmp_path_factory.mktemp("networks") / "attention"
    folder.mkdir()
    keras.Model(image, classes).save(folder / "model.keras")
    (folder / "input.json").write_text(json.dumps(DESCRIPTION | {"output": "pooled"}))
    return folder, keras.Model(image, pooled)


def test_features_agree_with_keras(
    saved: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "SECONDS", 0.01)
    folder, model = saved
    graph = graph_of(folder)
    pixels = np.stack([decode(png(drawn(*size)), graph.input) for size in SIZES])
    values = (pixels[..., ::-1] * DESCRIPTION["rescale"] - DESCRIPTION["mean"]) / DESCRIPTION["std"]
    wanted = model.predict(values.astype(np.float32), verbose=0)
    np.testing.assert_allclose(load(graph)(pixels), wanted, rtol=1e-4, atol=1e-5)
    assert np.ptp(wanted, axis=0).min() > 1e-3


@pytest.mark.parametrize(
    ("output", "words"),
    [(None, 'the last layers are pooled and .*"output": "pooled"'), ("none", "layer none; the")],
)
def test_the_layer_of_the_features_must_be_named(
    saved: tuple[Path, Any], tmp_path: Path, output: str | None, words: str
) -> None:
    (tmp_path / "model.keras").write_bytes((saved[0] / "model.keras").read_bytes())
    (tmp_path / "input.json").write_text(json.dumps(DESCRIPTION | {"output": output}))
    with pytest.raises(BackboneError, match=words):
        graph_of(tmp_path)


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_the_features_may_be_those_of_a_network_inside_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """As in transfer learning: a network of Keras Applications, and a layer for own classes."""
    import keras

    monkeypatch.setattr(batch, "SECONDS", 0.01)
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 40, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(image))
    inner = keras.Model(image, pooled, name="inner")
    pixels, classes = keras.Input((32, 40, 3)), keras.layers.Dense(5)
    twice = inner(keras.layers.Rescaling(2)(pixels))
    whole = {
        "sequential": keras.Sequential([pixels, inner, classes]),
        "functional": keras.Model(pixels, classes(twice)),
    }[kind]
    whole.save(tmp_path / "model.keras")
    (tmp_path / "input.json").write_text(json.dumps(DESCRIPTION | {"mean": [0] * 3}))
    with pytest.raises(BackboneError, match=r"write into input.json \{\"output\": \"inner\"\}"):
        graph_of(tmp_path)
    said = DESCRIPTION | {"mean": [0] * 3, "std": [1] * 3, "rescale": 1, "output": "inner"}
    (tmp_path / "input.json").write_text(json.dumps(said))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 40, 3), np.uint8)
    scale = 2 if kind == "functional" else 1
    wanted = inner.predict(images[..., ::-1].astype(np.float32) * scale, verbose=0)
    np.testing.assert_allclose(load(graph_of(tmp_path))(images), wanted, rtol=1e-4, atol=1e-3)


def test_a_network_that_openvino_cannot_compute_is_refused_in_one_line(tmp_path: Path) -> None:
    import keras

    image = keras.Input((32, 32, 3))
    values, _ = keras.ops.eigh(keras.ops.mean(image, axis=3))
    keras.Model(image, keras.layers.Dense(3, name="last")(values)).save(tmp_path / "model.keras")
    said = DESCRIPTION | {"width": 32, "output": "last"}
    (tmp_path / "input.json").write_text(json.dumps(said))
    with pytest.raises(BackboneError, match=r"up to the layer last: .*an ONNX file") as caught:
        graph_of(tmp_path)
    assert str(caught.value).isprintable()


def changed(source: Path, target: Path, old: str, new: str, extra: str | None = None) -> None:
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "config.json":
                assert old.encode() in content
                content = content.replace(old.encode(), new.encode())
            copy.writestr(name, content)
        if extra:
            copy.writestr(extra, b"")


@pytest.mark.parametrize(
    ("old", "new", "extra", "words"),
    [
        ('"class_name": "Conv2D"', '"class_name": "Lambda"', None, "got Lambda of"),
        ('"class_name": "Conv2D"', '"class_name": "TFSMLayer"', None, "got TFSMLayer of"),
        ('"class_name": "Conv2D"', '"class_name": "utils.get_file"', None, "got utils.get_file of"),
        ('"module": "keras.layers"', '"module": "keras.utils"', None, "of keras.utils"),
        ('"module": "keras.layers"', '"module": "keras.src.saving"', None, "of keras.src.saving"),
        ('"module": "keras.layers"', '"module": "os"', None, "which would run code"),
        ('"registered_name": null', '"registered_name": "own>Layer"', None, "own>Layer"),
        ("{", "{", "assets/vocabulary.txt", "the file assets/vocabulary.txt"),
        ("{", "[", None, "wanted a Keras 3 archive"),
    ],
)
def test_an_archive_with_other_objects_than_keras_layers_is_refused(
    saved: tuple[Path, Any], tmp_path: Path, old: str, new: str, extra: str | None, words: str
) -> None:
    changed(saved[0] / "model.keras", tmp_path / "model.keras", old, new, extra)
    (tmp_path / "input.json").write_text(json.dumps(DESCRIPTION | {"output": "pooled"}))
    with pytest.raises(BackboneError, match=words) as caught:
        graph_of(tmp_path)
    assert str(caught.value).isprintable()


def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"no archive")
    (tmp_path / "input.json").write_text(json.dumps(DESCRIPTION | {"output": "pooled"}))
    with pytest.raises(BackboneError, match=r"wanted a Keras 3 archive; model.keras has"):
        graph_of(tmp_path)
