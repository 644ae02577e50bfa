"""Detectors of users: boxes in photographs, and the features of each box."""

import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from detectors import (
    DESCRIPTIONS,
    SIDE,
    as_onnx,
    bright_halves,
    halves,
    two_halves,
    write_description,
    write_detector,
)
from encoded import encode
from onnx_bytes import colours
from openvino import opset13 as ops
from PIL import Image

from fruits.errors import BackboneError
from fruits.images.decode import decode, decode_whole
from fruits.images.resize import InputSpec
from fruits.networks import batch
from fruits.networks import compile_detector as compiling
from fruits.networks.boxes import in_photograph, non_max_suppression
from fruits.networks.compile import compile_backbone
from fruits.networks.compile_detector import compile_detector
from fruits.networks.graph import CompiledGraph
from fruits.networks.isolation import featurize_in_subprocess
from fruits.networks.objects import NO_OBJECT, Objects, featurize, parts_of
from fruits.networks.runtime import featurize as featurize_whole

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(3, 5))
PICTURES = [two_halves(*pair, seed=n) for n, pair in enumerate([(200, 40), (30, 210), (170, 220)])]
DARK = two_halves(20, 50)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a network that computes mean colours."""
    place = tmp_path_factory.mktemp("nets") / "colours"
    place.mkdir()
    (place / "model.onnx").write_bytes(colours(WEIGHTS))
    settings = json.loads((write_detector(place.parent / "any") / "input.json").read_text())
    del settings["detector"]
    (place / "input.json").write_text(json.dumps(settings | {"output": "features"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRUITS_CACHE", str(place.parent / "cache"))
        patch.setattr(batch, "SECONDS", 0.01)
        yield place


@pytest.fixture(scope="module")
def graph(backbone: Path) -> CompiledGraph:
    """That network with the detector of halves."""
    return compile_backbone(str(backbone), crop=f"detector:{backbone.parent / 'any'}")


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiles detectors in this process; that of `graph` is compiled in another one."""

    def run_here(module: str, place: str, target: str) -> subprocess.CompletedProcess[str]:
        compiling._compile(Path(place), Path(target))
        return subprocess.CompletedProcess([module], 0)

    monkeypatch.setattr(compiling, "run_module", run_here)


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("form", DESCRIPTIONS)
def test_boxes_of_all_formats_agree_with_numpy(
    form: str, graph: CompiledGraph, tmp_path: Path
) -> None:
    detector, parts = compile_detector(str(write_detector(tmp_path / form, form)))
    other = replace(graph, detector=detector, parts=graph.parts | parts)
    found = list(featurize(map(encode, PICTURES), other))
    assert [one.boxes for one in found] == list(map(bright_halves, PICTURES))  # type: ignore[union-attr]
    assert {len(one.boxes) for one in found} == {1, 2}  # type: ignore[union-attr]


def test_features_of_a_box_equal_those_of_the_cropped_picture(
    graph: CompiledGraph, backbone: Path
) -> None:
    plain = compile_backbone(str(backbone))
    turned = Image.Exif()
    turned[274] = 6
    lying = encode(PICTURES[2].transpose(Image.Transpose.ROTATE_90), "TIFF", exif=turned)
    for content in (*map(encode, PICTURES), lying):
        [found] = featurize([content], graph)
        assert isinstance(found, Objects)
        upright = decode_whole(content)
        cut = [encode(upright.crop(box)) for box in found.boxes]
        assert found.boxes == bright_halves(upright)
        np.testing.assert_array_equal(found.features, np.stack(list(featurize_whole(cut, plain))))
        assert all(Image.open(io.BytesIO(one)).format == "JPEG" for one in found.thumbnails)
    np.testing.assert_array_equal(np.asarray(decode_whole(lying)), np.asarray(PICTURES[2]))


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "AVIF", "WEBP"])
def test_the_detector_gets_the_full_scale(kind: str) -> None:
    picture = two_halves(90, 200, size=(1100, 700))
    content = encode(picture, kind)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(decode_whole(content)), expected)


@pytest.mark.usefixtures("quickly")
def test_a_photograph_without_a_box_is_rejected_or_used_whole(
    graph: CompiledGraph, tmp_path: Path
) -> None:
    assert list(featurize([encode(DARK)], graph)) == [NO_OBJECT]
    place = write_detector(tmp_path / "whole", detector={"empty": "whole"})
    detector, parts = compile_detector(str(place))
    [found] = featurize(
        [encode(DARK)], replace(graph, detector=detector, parts=graph.parts | parts)
    )
    assert isinstance(found, Objects)
    assert found.boxes == [(0, 0, *DARK.size)]


def test_results_are_in_order_with_a_reason_for_each_unusable_file(graph: CompiledGraph) -> None:
    contents = [b"text", encode(PICTURES[0]), PermissionError("not for you"), encode(PICTURES[1])]
    pictures: list[bytes | None] = []
    found = list(featurize(contents, graph, pictures.append))
    assert [type(one) for one in found] == [str, Objects, str, Objects]
    assert found[2] == "unreadable: not for you"
    assert pictures == [None] * 4


def test_boxes_are_the_same_in_a_subprocess(graph: CompiledGraph) -> None:
    contents = [*map(encode, PICTURES), encode(DARK)]
    for ours, theirs in zip(
        featurize_in_subprocess(contents, graph), featurize(contents, graph), strict=True
    ):
        if isinstance(ours, Objects) and isinstance(theirs, Objects):
            assert (ours.boxes, ours.thumbnails) == (theirs.boxes, theirs.thumbnails)
            np.testing.assert_array_equal(ours.features, theirs.features)
        else:
            assert ours == theirs == NO_OBJECT


def test_the_path_of_a_row_names_its_box(graph: CompiledGraph) -> None:
    [found] = featurize([encode(PICTURES[2])], graph)
    assert isinstance(found, Objects)
    assert {part.fragment for part in parts_of(found, None)} == {
        "#xywh=0,0,30,40",
        "#xywh=30,0,30,40",
    }


@pytest.mark.usefixtures("quickly")
def test_an_onnx_file_without_a_batch_dimension_is_supported(
    graph: CompiledGraph, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(as_onnx())
    write_description(tmp_path, {})
    detector, parts = compile_detector(str(tmp_path))
    other = replace(graph, detector=detector, parts=graph.parts | parts)
    found = list(featurize(map(encode, PICTURES), other))
    assert [one.boxes for one in found] == list(map(bright_halves, PICTURES))  # type: ignore[union-attr]


def test_boxes_in_a_padded_photograph_have_correct_positions() -> None:
    """A picture with one white rectangle, resized to the network's input by Pillow."""
    spec = InputSpec(64, 48, resize="pad", interpolation="nearest")
    for size in ((128, 32), (40, 200), (96, 128)):
        picture = np.zeros((size[1], size[0], 3), np.uint8)
        picture[size[1] // 4 : size[1] // 2, size[0] // 4 : size[0] // 2] = 255
        small = decode(encode(Image.fromarray(picture)), spec)[..., 0] > 0
        rows, columns = np.flatnonzero(small.any(axis=1)), np.flatnonzero(small.any(axis=0))
        corners = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], float)
        [found] = in_photograph(corners, spec, *size)
        expected = [size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2]
        np.testing.assert_allclose(found, expected, atol=max(size) / 48)


def test_the_best_of_overlapping_boxes_remains() -> None:
    rng = np.random.default_rng(3)
    corners = rng.integers(0, 60, (200, 2))
    corners = np.concatenate([corners, corners + rng.integers(1, 30, (200, 2))], axis=1)
    scores = rng.integers(0, 40, 200) / 40  # with many equal ones
    places = non_max_suppression(corners, scores, 0.4, 1000)

    def union_share(one: Any, other: Any) -> float:
        cells = [
            {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}
            for box in (one, other)
        ]
        return len(cells[0] & cells[1]) / len(cells[0] | cells[1])

    order = sorted(range(200), key=lambda n: (-scores[n], corners[n].tolist()))
    expected: list[int] = []
    for n in order:
        if all(union_share(corners[n], corners[m]) <= 0.4 for m in expected):
            expected.append(n)
    assert corners[places].tolist() == corners[expected].tolist()
    assert non_max_suppression(corners, scores, 0.4, 3) == places[:3]
    shuffled = rng.permutation(200)
    again = non_max_suppression(corners[shuffled], scores[shuffled], 0.4, 1000)
    assert corners[shuffled][again].tolist() == corners[places].tolist()


def test_only_boxes_of_the_wanted_classes_are_accepted(
    graph: CompiledGraph, tmp_path: Path
) -> None:
    place = write_detector(tmp_path / "one", detector={"classes": [2]})
    detector, parts = compile_detector(str(place))
    [found] = featurize(
        [encode(PICTURES[2])], replace(graph, detector=detector, parts=graph.parts | parts)
    )
    assert isinstance(found, Objects)
    assert found.boxes == [(30, 0, 60, 40)]


@pytest.mark.usefixtures("quickly")
def test_the_identity_depends_on_everything_that_affects_the_boxes(
    graph: CompiledGraph, backbone: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(backbone.parent / "any", tmp_path / "other-name")
    same, _ = compile_detector(str(place))
    assert graph.detector is not None
    assert same.sha256 == graph.detector.sha256
    for settings in ({"score": 0.6}, {"overlap": 0.4}, {"most": 5}, {"empty": "whole"}):
        write_description(place, settings)
        assert compile_detector(str(place))[0].sha256 != same.sha256
    write_description(place, {}, interpolation="bicubic")
    assert compile_detector(str(place))[0].sha256 != same.sha256
    plain = compile_backbone(str(backbone))
    assert graph.identity == plain.identity | {"crop": f"detector:{same.sha256}"}


def test_a_graph_with_a_detector_is_written_and_read(graph: CompiledGraph) -> None:
    again = CompiledGraph.from_bytes(graph.to_bytes())
    assert again == graph
    assert again.digest == graph.digest
    cut = {name: part for name, part in graph.parts.items() if name != "detector.bin"}
    with pytest.raises(BackboneError, match="not the files of a graph"):
        CompiledGraph.from_bytes(replace(graph, parts=cut).to_bytes())


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(
    ("form", "settings", "reason"),
    [
        ("yolov8", {"format": None}, r"output0 \(n, 6, 2\): write into input.json .*yolov8"),
        ("detr", {"activation": ""}, "wanted activation as one of softmax, sigmoid; got ''"),
        ("ssd", {"activation": "softmax"}, "wanted activation as left out"),
        ("ssd", {"format": "yolov4"}, "outputs; there is detection_out"),
        ("ssd", {"format": "yolov8"}, "wanted outputs of the format yolov8"),
        ("ssd", {"score": 1.0}, "wanted score as a number of at least 0 and less than 1; got 1.0"),
        ("ssd", {"most": 0}, "wanted most as a whole number from 1 to 1000; got 0"),
        ("ssd", {"classes": ["apple"]}, "wanted classes as whole numbers"),
        ("ssd", {"empty": "skip"}, "wanted empty as one of reject or whole"),
        ("yolov8", {"format": ["yolov8"]}, r"output0 \(n, 6, 2\): write into input.json .*yolov8"),
        ("yolov8", {"outputs": "output0"}, "wanted outputs as a list; got 'output0'"),
        ("yolov8", {"outputs": 5}, "wanted outputs as a list; got 5"),
        ("yolov8", {"outputs": [5]}, r"wanted outputs as names; got \(5,\)"),
        ("ssd", {"threshold": 0.3}, "wanted the fields format.*; got threshold"),
        ("torchvision", {"outputs": ["boxes", "points"]}, "wanted the output points; there are"),
    ],
)
def test_missing_information_is_one_line_with_a_remedy(
    form: str, settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    place = write_detector(tmp_path / "mine", form, detector=settings)
    with pytest.raises(BackboneError, match=reason) as raised:
        compile_detector(str(place))
    assert str(raised.value).startswith("crop: ")
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("kind", ["PriorBox", "PriorBoxClustered"])
def test_an_openvino_detector_with_prior_boxes_is_supported(
    graph: CompiledGraph, tmp_path: Path, kind: str
) -> None:
    place = write_detector(tmp_path / "ssd", "ssd")
    model = halves("ssd")
    [result] = model.get_results()
    sizes = [ops.constant(np.array(pair, np.int64)) for pair in ([1, 2], [SIDE, SIDE])]
    about = {"step": 16.0, "variance": [0.1] * 4, "offset": 0.5}
    if kind == "PriorBox":
        boxes = ops.prior_box(*sizes, about | {"min_size": [8.0]})
    else:
        boxes = ops.prior_box_clustered(*sizes, about | {"width": [8.0], "height": [8.0]})
    # All boxes are the same with and without this zero.
    zero = ops.multiply(ops.reduce_sum(boxes, [0, 1]), ops.constant(np.float32(0)))
    found = ops.result(ops.add(result.input_value(0), zero))
    found.output(0).set_names({"detection_out"})
    whole = openvino.Model([found], model.get_parameters())
    openvino.save_model(whole, place / "model.xml", compress_to_fp16=False)
    assert b'offset="0.5"' in (place / "model.xml").read_bytes()
    detector, parts = compile_detector(str(place))
    other = replace(graph, detector=detector, parts=graph.parts | parts)
    found = featurize(map(encode, PICTURES), other)
    boxes = [one.boxes for one in found]  # type: ignore[union-attr]
    assert boxes == list(map(bright_halves, PICTURES))


def test_folders_without_a_detector_are_refused(backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"crop: wanted a folder with a detector; .*nowhere"):
        compile_detector(str(tmp_path / "nowhere"))
    with pytest.raises(BackboneError, match=r"the format of the detector.s outputs; .* features"):
        compile_detector(str(backbone))
    place = write_detector(tmp_path / "cut", resize="shortest_edge")
    with pytest.raises(BackboneError, match="wanted resize as squash or pad"):
        compile_detector(str(place))
    shutil.copy(backbone / "model.onnx", place / "model.onnx")
    with pytest.raises(BackboneError, match=rf"^crop: {place}: wanted one ONNX file"):
        compile_detector(str(place))
    with pytest.raises(
        BackboneError, match="describes a detector: use the folder with the option crop"
    ):
        compile_backbone(str(write_detector(tmp_path / "swapped")))
