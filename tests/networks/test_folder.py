"""Networks of users: the features of a network in a folder, or one line about what is missing."""

import json
import os
import shutil
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import openvino
import pytest
from onnx_bytes import colours, field, model, node, tensor
from openvino import opset13 as ops
from pictures import SIZES, drawn, places, png

from fruits.errors import BackboneError
from fruits.images.decode import decode
from fruits.networks import batch, compile
from fruits.networks.compile import compile_backbone
from fruits.networks.compile_detector import compile_detector
from fruits.networks.convert import graph_of
from fruits.networks.folder import read_folder
from fruits.networks.graph import CompiledGraph
from fruits.networks.recipe import EXAMPLE
from fruits.networks.runtime import featurize, load

DATA = Path(__file__).parents[1] / "data" / "networks"
NETWORKS = sorted(path.name for path in DATA.iterdir() if (path / "model.onnx").exists())
PICTURES = [png(drawn(*size)) for size in SIZES]
# The network gets value / 255.
PLAIN = json.loads(EXAMPLE) | {"height": 32, "width": 48, "mean": [0, 0, 0], "std": [1, 1, 1]}
WEIGHTS = np.random.RandomState(0).normal(size=(3, 5))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRUITS_CACHE", str(folder))
        patch.setattr(batch, "SECONDS", 0.01)
        yield folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a network that computes mean colours, and its preprocessing."""
    place = tmp_path / "colours"
    place.mkdir()
    (place / "model.onnx").write_bytes(colours(WEIGHTS))
    describe(place, output="features")
    return place


def describe(place: Path, **words: Any) -> None:
    (place / "input.json").write_text(json.dumps(PLAIN | words))


def features(graph: CompiledGraph, contents: list[bytes]) -> np.ndarray:
    return np.stack(list(featurize(contents, graph)))  # type: ignore[arg-type]


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float((np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max())


def mean_colours(contents: list[bytes], place: Path) -> np.ndarray:
    spec = read_folder(place).recipe.input
    return np.stack([decode(one, spec).mean(axis=(0, 1)) for one in contents]) / 255


# Networks of transformers and timm


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "vit-scores"])
def test_features_agree_with_the_library_of_the_network(name: str) -> None:
    expected = np.load(DATA / name / "expected.npz")
    graph = graph_of(DATA / name)
    found = features(graph, PICTURES)
    assert relative(found, expected["features"]) < 1e-4
    # The features differ between images, so the comparison is meaningful.
    assert relative(np.roll(found, 1, axis=0), expected["features"]) > 1e-2
    about = read_folder(DATA / name).recipe
    for content, pixels in zip(PICTURES, expected["pixels"], strict=True):
        values = (decode(content, graph.input) * about.rescale - about.mean) / about.std
        chosen = places((3, *values.shape[:2]))
        difference = np.abs(np.moveaxis(values, -1, 0).ravel()[chosen] - pixels)
        assert np.mean(difference * max(about.std) <= 1.001 / 255) > 0.999


def test_scores_of_classes_are_refused_unless_they_are_named(tmp_path: Path) -> None:
    place = Path(shutil.copytree(DATA / "vit-scores", tmp_path / "vit"))
    with pytest.raises(
        BackboneError, match=r"'logits' of shape \(n, 5\) contains scores of classes"
    ):
        graph_of(place)
    (place / "input.json").write_text('{"output": "logits"}')
    expected = np.load(DATA / "vit-scores" / "expected.npz")["features"]
    assert relative(features(graph_of(place), PICTURES), expected) < 1e-4


@pytest.mark.parametrize("pooling", ["class_token", "mean", "mean_patches"])
def test_tokens_are_pooled_as_requested(tmp_path: Path, pooling: str) -> None:
    place = Path(shutil.copytree(DATA / "dinov2", tmp_path / "dinov2"))
    about = {"output": "last_hidden_state", "pooling": pooling}
    (place / "input.json").write_text(json.dumps(about))
    tokens = openvino.compile_model(
        place / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    found = read_folder(place).recipe
    values = np.stack([decode(one, found.input) for one in PICTURES]) * found.rescale
    values = ((values - found.mean) / found.std).transpose(0, 3, 1, 2).astype(np.float32)
    all_tokens = tokens([values])[0]
    wanted = {
        "class_token": all_tokens[:, 0],
        "mean": all_tokens.mean(axis=1),
        "mean_patches": all_tokens[:, 1:].mean(axis=1),
    }[pooling]
    assert relative(features(graph_of(place), PICTURES), wanted) < 1e-4


def test_an_output_of_tokens_needs_a_pooling(tmp_path: Path) -> None:
    place = Path(shutil.copytree(DATA / "dinov2", tmp_path / "dinov2"))
    (place / "input.json").unlink()
    with pytest.raises(BackboneError, match='"pooling": "class_token"'):
        graph_of(place)
    (place / "input.json").write_text('{"output": "last_hidden_state"}')
    with pytest.raises(BackboneError, match="wanted pooling as one of class_token, mean"):
        graph_of(place)


# Custom networks


def test_a_handwritten_network_computes_the_expected_features(folder: Path) -> None:
    describe(folder, output="features", channels="BGR", mean=[0.1, 0.2, 0.3], std=[1, 2, 4])
    colour = mean_colours(PICTURES, folder)[:, ::-1]
    wanted = ((colour - [0.1, 0.2, 0.3]) / [1, 2, 4]) @ WEIGHTS
    graph = compile_backbone(str(folder))
    np.testing.assert_allclose(features(graph, PICTURES), wanted, rtol=1e-4, atol=1e-5)
    assert (graph.backbone, graph.dimension) == ("colours", 5)
    assert (graph.input.height, graph.input.width) == (32, 48)


def test_an_inner_tensor_can_be_the_features(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(colours(WEIGHTS, chances=["n", 5]))
    describe(folder)
    with pytest.raises(BackboneError, match=r'before its last layer: \{"output": "colour"\}'):
        graph_of(folder)
    describe(folder, output="colour")
    found = features(graph_of(folder), PICTURES)
    np.testing.assert_allclose(found, mean_colours(PICTURES, folder), rtol=1e-5)
    describe(folder, output="nothing")
    with pytest.raises(
        BackboneError, match=r"wanted the output nothing; there is chances \(n, 5\)"
    ):
        graph_of(folder)


def test_a_map_is_averaged(folder: Path) -> None:
    content = model([node("Relu", ["image"], "map")], [], {"map": ["n", 3, "h", "w"]})
    (folder / "model.onnx").write_bytes(content)
    describe(folder, pooling="mean")
    found = features(graph_of(folder), PICTURES)
    np.testing.assert_allclose(found, mean_colours(PICTURES, folder), rtol=1e-5)


def test_the_layout_of_an_openvino_ir_is_detected(tmp_path: Path) -> None:
    pixels = ops.parameter([1, 32, 48, 3], np.float32, name="image")
    mean = ops.reduce_mean(pixels, ops.constant([1, 2]))
    mean.output(0).set_names({"colour"})
    network = openvino.Model([mean], [pixels])
    info = {"resize_type": "standard", "interpolation_mode": "CUBIC", "scale_values": "255"}
    for name, value in (info | {"reverse_input_channels": "False"}).items():
        network.set_rt_info(value, ["model_info", name])
    openvino.save_model(network, tmp_path / "network.xml")
    (tmp_path / "input.json").write_text('{"output": "colour"}')
    found = features(graph_of(tmp_path), PICTURES)
    np.testing.assert_allclose(found, mean_colours(PICTURES, tmp_path)[:, ::-1], rtol=1e-5)


def test_an_ir_that_cannot_be_used_is_reported_with_what_to_do_about_the_users_file(
    tmp_path: Path,
) -> None:
    pixels = ops.parameter([-1, 3, 32, 48], np.float32, "pixels")
    mean = ops.reduce_mean(pixels, [2, 3])
    network = openvino.Model([ops.add(mean, ops.constant(np.ones(3, np.float32)))], [pixels])
    describe(tmp_path)
    openvino.save_model(network, tmp_path / "network.xml")
    xml, constants = tmp_path / "network.xml", tmp_path / "network.bin"
    whole = xml.read_bytes()
    export = "export the network without that, or copy its files again if they are damaged$"
    xml.write_bytes(whole.replace(b'type="ReduceMean"', b'type="TensorIterator"'))
    refused(tmp_path, f"got one with the operation TensorIterator, so it is not run: {export}")
    xml.write_bytes(whole[:-9])
    refused(tmp_path, f"got one with .*: {export}")
    xml.write_bytes(whole)
    constants.write_bytes(constants.read_bytes()[:-1])
    refused(tmp_path, f"a constant that is not in its file, so it is not run: {export}")


def test_an_output_that_may_have_any_number_of_dimensions_is_refused(folder: Path) -> None:
    nodes = [node("GlobalAveragePool", ["image"], "mean"), node("Squeeze", ["mean"], "features")]
    (folder / "model.onnx").write_bytes(model(nodes, [], {"features": ["n", 3]}))
    for words in ({}, {"output": "features"}, {"pooling": "mean"}):
        describe(folder, **words)
        refused(folder, r"number of dimensions; features may have any: export .* flatten\(1\)")


def test_of_several_outputs_those_that_cannot_be_used_do_not_hide_the_others(folder: Path) -> None:
    def with_outputs(**more: list[int | str]) -> bytes:
        keepdims = field(1, "keepdims") + field(3, 0) + field(20, 2)
        nodes = [
            node("GlobalAveragePool", ["image"], "mean"),
            node("Squeeze", ["mean"], "any"),
            node("Flatten", ["mean"], "one"),
            node("Flatten", ["mean"], "two"),
            # The field 5 is an attribute: its name, its number and its type.
            node("ReduceMean", ["image"], "number", attributes=field(5, keepdims)),
        ]
        return model(nodes, [], more)

    describe(folder)
    several = with_outputs(any=["n", 3], one=["n", 3], two=["n", 3])
    (folder / "model.onnx").write_bytes(several)
    refused(folder, r'there are any \(any shape\), one \(n, 3\), two .* \{"output": "one"\}$')
    (folder / "model.onnx").write_bytes(with_outputs(number=[]))
    refused(folder, r"wanted the name of the output with the features; there is number \(\)")
    describe(folder, output="number")
    refused(folder, r"none for this shape, for the output number of shape \(\)")


def test_values_in_a_separate_file_are_read(folder: Path) -> None:
    wanted = features(graph_of(folder), PICTURES)
    (folder / "model.onnx").write_bytes(colours(WEIGHTS, "values.bin"))
    (folder / "values.bin").write_bytes(WEIGHTS.astype(np.float32).tobytes())
    np.testing.assert_array_equal(features(compile_backbone(str(folder)), PICTURES), wanted)


def test_a_folder_in_a_store_gives_the_same_network(folder: Path) -> None:
    store = fsspec.filesystem("memory")
    store.put(f"{folder}/", "/networks/colours/", recursive=True)
    assert compile_backbone("memory://networks/colours") == compile_backbone(str(folder))
    store.rm("/networks", recursive=True)
    with pytest.raises(BackboneError, match="cannot be read"):
        compile_backbone("memory://networks/colours")


# The identity of a network


def test_the_identity_depends_on_everything_that_affects_the_features(folder: Path) -> None:
    first = read_folder(folder).sha256
    (folder / "README.md").write_text("nothing of it")
    describe(folder, output="features", layout=None)
    assert read_folder(folder).sha256 == first
    seen = {first}
    for words in ({"output": "colour"}, {"output": "features", "mean": [0, 0, 0.1]}):
        describe(folder, **words)
        seen.add(read_folder(folder).sha256)
    describe(folder, output="features")
    (folder / "model.onnx").write_bytes(colours(WEIGHTS + 1))
    seen.add(read_folder(folder).sha256)
    assert len(seen) == 4


def test_a_folder_is_compiled_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = compile_backbone(str(folder))
    monkeypatch.setattr(compile, "_compile_in_subprocess", None)
    assert compile_backbone(str(folder)) == graph
    # Without reduction, decoding is always exact: the option has no effect.
    assert compile_backbone(f"file:{folder}", exact_decode=True) == graph


def test_a_crop_changes_the_identity_but_not_the_graph(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = compile_backbone(str(folder))
    monkeypatch.setattr(compile, "_compile_in_subprocess", None)
    cropped = compile_backbone(str(folder), crop="saliency")
    assert cropped.identity == graph.identity | {"crop": "saliency"}
    assert cropped.parts == graph.parts
    assert CompiledGraph.from_bytes(cropped.to_bytes()) == cropped


def test_a_crop_is_not_a_field_of_input_json(folder: Path) -> None:
    describe(folder, crop="centre")
    with pytest.raises(BackboneError, match=r"wanted input.json with .*; got crop"):
        read_folder(folder)


def test_networks_keep_the_digests_of_earlier_versions() -> None:
    digest = "6626b810efcb43cfbbce6ff73d16681d268918f4ec760206925d831be4651478"
    assert read_folder(DATA / "dinov2").sha256 == digest


def test_a_graph_of_a_folder_is_unchanged_after_packing(folder: Path) -> None:
    graph = graph_of(folder)
    assert CompiledGraph.from_bytes(graph.to_bytes()) == graph


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_features_do_not_depend_on_the_batch(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of(DATA / "convnext")
    monkeypatch.setattr(batch, "BATCHES", (size,))
    other = graph_of(DATA / "convnext")
    assert other.batch == size
    assert other.identity == graph.identity
    np.testing.assert_array_equal(features(other, PICTURES), features(graph, PICTURES))


def test_a_batch_that_changes_features_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def features(candidate: Any, pixels: np.ndarray) -> np.ndarray:
        return np.full((len(pixels), 1), candidate.batch > 1, np.float32)

    monkeypatch.setattr(batch, "_features", features)
    monkeypatch.setattr(batch, "_seconds", lambda candidate, pixels: 1 / candidate.batch)
    assert graph_of(DATA / "convnext").batch == 1


def test_the_fastest_batch_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {1: 1.0, 2: 0.5, 4: 0.49, 8: 0.6}
    monkeypatch.setattr(batch, "_seconds", lambda candidate, pixels: taken[candidate.batch])
    graph = graph_of(DATA / "convnext")
    # A batch of four is hardly faster than two, and would need more memory.
    assert graph.batch == 2
    assert load(graph)(np.zeros((3, 64, 64, 3), np.uint8)).shape == (3, 16)


@pytest.mark.parametrize(("pause", "runs"), [(0.0, 200), (0.03, 3)])
def test_a_fast_network_is_measured_often_and_a_slow_one_a_few_times(
    pause: float, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Network:
        batch = 2
        called = 0

        def __call__(self, pixels: np.ndarray) -> None:
            self.called += 1
            time.sleep(pause)

    # Even 200 runs of a network without any work take less than this.
    monkeypatch.setattr(batch, "SECONDS", 0.01 if pause else 60)
    network = Network()
    seconds = batch._seconds(network, np.zeros((2, 4, 4, 3), np.uint8))  # type: ignore[arg-type]
    assert network.called == runs
    assert seconds >= pause / 2


# Refused folders


def refused(place: Path, words: str) -> None:
    with pytest.raises(BackboneError, match=words) as caught:
        compile_backbone(str(place))
    text = str(caught.value)
    assert text.startswith("backbone: ")
    assert text.isprintable()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    wanted = r"wanted the name of a network \(see `fruits run --help`\) or a folder with a network"
    refused(tmp_path / "nowhere", f"{wanted}; .*nowhere cannot be read: No such file")


@pytest.mark.parametrize("name", ["model.onnx", "other.keras"])
def test_a_file_instead_of_its_folder_is_one_line_that_names_the_folder(
    folder: Path, name: str
) -> None:
    refused(
        folder / name,
        f"or a folder with a network; got the name of a file, .*: give the folder, {folder}$",
    )
    with pytest.raises(BackboneError, match=f"^crop: .* give the folder, {folder}$"):
        compile_detector(str(folder / name))


def test_a_folder_needs_one_network(folder: Path) -> None:
    shutil.copy(folder / "model.onnx", folder / "second.onnx")
    refused(folder, r'got model.onnx, second.onnx: write \{"file": "model.onnx"\}')
    describe(folder, output="features", file="second.onnx")
    assert compile_backbone(str(folder)).dimension == 5
    for path in folder.glob("*.onnx"):
        path.unlink()
    (folder / "input.json").unlink()
    refused(folder, "got none of them")


def test_a_network_in_the_folder_onnx_is_named(folder: Path) -> None:
    (folder / "onnx").mkdir()
    shutil.copy(folder / "model.onnx", folder / "onnx" / "model_fp16.onnx")
    (folder / "model.onnx").rename(folder / "onnx" / "model.onnx")
    wanted = r'none of them, but onnx/model.onnx, .*write \{"file": "onnx/model.onnx"\}'
    refused(folder, wanted)
    describe(folder, output="features", file="onnx/model.onnx")
    assert compile_backbone(str(folder)).dimension == 5


def test_a_processor_of_images_and_texts_says_it_in_its_part_for_images(folder: Path) -> None:
    about = json.loads((DATA / "siglip" / "preprocessor_config.json").read_text())
    (folder / "input.json").unlink()
    place = folder / "processor_config.json"
    place.write_text(json.dumps({"processor_class": "SiglipProcessor", "image_processor": about}))
    found = read_folder(folder).recipe
    assert found.input == read_folder(DATA / "siglip").recipe.input
    place.write_text(json.dumps({"image_processor": about | {"resample": 9}}))
    refused(folder, "processor_config.json has resample 9")
    # Before transformers 5, the file has nothing about images.
    place.write_text(json.dumps({"processor_class": "SiglipProcessor"}))
    shutil.copy(DATA / "siglip" / "preprocessor_config.json", folder)
    assert read_folder(folder).recipe == found


def test_unknown_preprocessing_is_one_line_with_an_example(folder: Path) -> None:
    (folder / "input.json").unlink()
    refused(folder, "there is no file that says nothing about|write what it was trained with")
    (folder / "config.json").write_text('{"model_type": "vit"}')
    refused(folder, '"resize": "squash"')
    (folder / "input.json").write_text("{")
    refused(folder, "input.json is not JSON")
    (folder / "input.json").write_text("[1]")
    refused(folder, "wanted an object")


def test_contradicting_files_are_refused(folder: Path) -> None:
    (folder / "input.json").unlink()
    shutil.copy(DATA / "timm-vit" / "config.json", folder / "config.json")
    shutil.copy(DATA / "vit" / "preprocessor_config.json", folder)
    refused(folder, "preprocessor_config.json and config.json differ in resize")


def test_input_json_resolves_a_contradiction_of_other_files(folder: Path) -> None:
    about = json.loads((DATA / "siglip" / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(about))
    other = {"image_processor": about | {"image_mean": [0.4, 0.5, 0.6]}}
    (folder / "processor_config.json").write_text(json.dumps(other))
    (folder / "input.json").write_text("{}")
    refused(folder, "preprocessor_config.json and processor_config.json differ in mean: write")
    (folder / "input.json").write_text('{"mean": [0.1, 0.2, 0.3]}')
    assert read_folder(folder).recipe.mean == (0.1, 0.2, 0.3)


def test_a_network_that_cannot_be_copied_is_reported_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(folder, output="features", mean=[1, 2, 3])  # It is not in the cache.
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "nowhere"))
    refused(folder, r"colours cannot be copied into a temporary folder \(.*nowhere.*set TMPDIR")
    with pytest.raises(BackboneError, match=r"^crop: .*colours cannot be copied.*set TMPDIR"):
        compile_detector(str(folder))


def test_a_network_without_keras_needs_no_keras(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(package: str) -> str:
        if package == "keras":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(compile, "version", installed)
    assert compile_backbone(str(folder)).dimension == 5


@pytest.mark.parametrize("name", ["../values.bin", "/etc/passwd", "a/../../values.bin", "s3://b/k"])
def test_values_outside_the_folder_are_not_read(folder: Path, name: str) -> None:
    (folder.parent / "values.bin").write_bytes(WEIGHTS.astype(np.float32).tobytes())
    (folder / "model.onnx").write_bytes(colours(WEIGHTS, name))
    refused(folder, "wanted all files inside of the folder")


def test_a_link_outside_the_folder_is_not_followed(folder: Path) -> None:
    outside = folder.parent / "values.bin"
    outside.write_bytes(WEIGHTS.astype(np.float32).tobytes())
    (folder / "model.onnx").write_bytes(colours(WEIGHTS, "values.bin"))
    (folder / "values.bin").symlink_to(outside)
    refused(folder, "values.bin is a link to")


def test_the_links_of_hugging_faces_cache_are_followed(folder: Path) -> None:
    wanted = read_folder(folder).sha256
    repository = folder.parent / "models--one--two"
    snapshot, blobs = repository / "snapshots" / "abc", repository / "blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        shutil.copy(path, blobs / f"digest-{path.name}")
        (snapshot / path.name).symlink_to(f"../../blobs/digest-{path.name}")
    assert read_folder(snapshot).sha256 == wanted


def test_custom_operations_are_refused(folder: Path) -> None:
    content = model(
        [node("Steal", ["image"], "features", "com.example")], [], {"features": ["n", 3]}
    )
    (folder / "model.onnx").write_bytes(content)
    refused(folder, "standard operations; model.onnx has operations of com.example")


def test_a_network_with_other_inputs_is_refused(folder: Path) -> None:
    content = model(
        [node("Add", ["image", "ids"], "features")],
        [],
        {"features": ["n", 3, "h", "w"]},
        {"image": ["n", 3, "h", "w"], "ids": ["n", 1]},
    )
    (folder / "model.onnx").write_bytes(content)
    refused(folder, "only input is an image; got the inputs image, ids")


def test_a_network_of_another_size_is_refused(folder: Path) -> None:
    content = model(
        [node("Relu", ["image"], "map")], [], {"map": ["n", 3, 8, 8]}, {"image": ["n", 3, 8, 8]}
    )
    (folder / "model.onnx").write_bytes(content)
    refused(folder, "wanted a network for images of 32 x 48 pixels")


def test_a_layout_that_the_shape_contradicts_is_one_line_that_says_what_to_write(
    folder: Path,
) -> None:
    shape = ["n", 32, 48, 3]
    content = model([node("Relu", ["image"], "map")], [], {"map": shape}, {"image": shape})
    (folder / "model.onnx").write_bytes(content)
    describe(folder, output="map", pooling="mean", layout="NCHW")
    refused(folder, r'not NCHW: write \{"layout": "NHWC"\} into input.json')
    describe(folder, output="map", pooling="mean", layout="NHWC")
    assert compile_backbone(str(folder)).dimension == 3


def test_a_layout_that_the_shape_does_not_tell_has_to_be_said(folder: Path) -> None:
    nodes = [node("Relu", ["image"], "map")]
    content = model(nodes, [], {"map": ["n", "a", "b", "c"]}, {"image": ["n", "a", "b", "c"]})
    (folder / "model.onnx").write_bytes(content)
    describe(folder, pooling="mean")
    refused(folder, "NCHW or NHWC")
    describe(folder, pooling="mean", layout="NHWC")
    assert compile_backbone(str(folder)).dimension == 3


def test_random_numbers_are_refused(folder: Path) -> None:
    noise = node("RandomUniformLike", ["colour"], "noise")
    nodes = [
        node("GlobalAveragePool", ["image"], "mean"),
        node("Reshape", ["mean", "shape"], "colour"),
        noise,
        node("Add", ["colour", "noise"], "features"),
    ]
    shape = tensor("shape", np.array([-1, 3], np.int64))
    (folder / "model.onnx").write_bytes(model(nodes, [shape], {"features": ["n", 3]}))
    refused(folder, "RandomUniform")


@pytest.mark.parametrize("engine", ["tensorflow"])
def test_other_engines_and_weights_are_refused(folder: Path, engine: str) -> None:
    with pytest.raises(BackboneError, match=f"wanted openvino for the network in .*; got {engine}"):
        compile_backbone(str(folder), engine=engine)
    with pytest.raises(BackboneError, match="has its own"):
        compile_backbone(str(folder), weights="random")


def test_a_damaged_file_is_refused_or_harmless(folder: Path) -> None:
    whole = (DATA / "timm-vit" / "model.onnx").read_bytes()
    random = np.random.RandomState(0)
    refusals = []
    for _ in range(200):
        damaged = bytearray(whole[: random.randint(1, len(whole))])
        damaged[random.randint(len(damaged))] ^= 1 << random.randint(8)
        (folder / "model.onnx").write_bytes(damaged)
        try:
            read_folder(folder)
        except BackboneError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert all(map(str.isprintable, refusals))


def test_unknown_names_are_refused_with_the_valid_names() -> None:
    with pytest.raises(BackboneError, match=r"wanted one of MobileNetV2, .*or a folder"):
        compile_backbone("MobileNet9")
    assert not os.path.exists("MobileNet9")
