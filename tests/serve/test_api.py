"""The API, with requests as from curl and other clients."""

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from models import EVALUATION, Server, served, thumbnail, write_model
from PIL import Image

import fruits
from fruits.networks.compile import compile_backbone
from fruits.networks.graph import CompiledGraph
from fruits.predictor import Prediction, Predictor
from fruits.serve.body import Bodies
from fruits.serve.card import card
from fruits.serve.refusal import Refused
from fruits.serve.settings import Settings

FORM = "multipart/form-data"


@pytest.fixture(scope="module")
def expected(model: Path, photographs: list[bytes]) -> list[Prediction]:
    """The predictor's own prediction of each photograph."""
    found = list(Predictor.load(str(model)).predict_many(photographs))
    assert all(isinstance(one, Prediction) for one in found)
    assert {one.unknown for one in found} == {True, False}  # type: ignore[union-attr]
    return found  # type: ignore[return-value]


def assert_same(answer: dict[str, Any], prediction: Prediction) -> None:
    """Checks that a response has the bits of a prediction; JSON keeps all bits of a float64."""
    assert answer["label"] == prediction.label
    assert answer["confidence"] == prediction.confidence
    assert answer["distance"] == prediction.distance
    assert answer["unknown"] is prediction.unknown
    assert [(one["label"], one["probability"]) for one in answer["top"]] == list(prediction.top)
    assert [(n["path"], n["label"], n["distance"]) for n in answer["neighbours"]] == [
        (n.path, n.label, n.distance) for n in prediction.neighbours
    ]


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def widened(picture: Image.Image) -> Image.Image:
    """The picture in the middle of a blue one that is twice as wide."""
    wide = Image.new("RGB", (2 * picture.width, picture.height), (20, 40, 200))
    wide.paste(picture, (picture.width // 2, 0))
    return wide


def test_one_photograph_as_the_body_gets_the_same_bits_as_from_the_predictor(
    server: Server, photographs: list[bytes], expected: list[Prediction]
) -> None:
    answer = server.client.post("/predict", content=photographs[0])
    assert answer.status_code == 200
    [one] = answer.json()["predictions"]
    assert_same(one, expected[0])
    assert "components" not in one
    assert "thumbnail" not in one["neighbours"][0]


def test_a_model_with_a_crop_uses_the_same_crop_as_its_run(
    server: Server,
    graph: CompiledGraph,
    model: Path,
    training: list[Path],
    photographs: list[bytes],
    tmp_path: Path,
) -> None:
    cropped = compile_backbone(graph.backbone, crop="centre")
    write_model(tmp_path / "predictor", cropped, training, photographs, 0.3)
    pictures = [Image.open(io.BytesIO(content)).convert("RGB") for content in photographs[:6]]
    square, wide = ([png(one) for one in some] for some in (pictures, map(widened, pictures)))
    # Cropping the wide pictures gives the squares, which need no crop.
    expected = list(Predictor.load(str(model)).predict_many(square))
    whole = server.predict(*wide).json()["predictions"]
    with served(tmp_path, tmp_path) as other:
        assert other.client.get("/model").json()["labels"]
        answers = other.predict(*wide).json()["predictions"]
    for answer, one, without in zip(answers, expected, whole, strict=True):
        assert isinstance(one, Prediction)
        assert_same(answer, one)
        assert without["distance"] != answer["distance"]


def test_photographs_of_a_form_are_predicted_in_order(
    server: Server, photographs: list[bytes], expected: list[Prediction]
) -> None:
    answer = server.predict(*photographs[:12])
    assert answer.status_code == 200
    body = answer.json()
    assert [one["file"] for one in body["predictions"]] == [f"{n}.jpg" for n in range(12)]
    for one, prediction in zip(body["predictions"], expected, strict=False):
        assert_same(one, prediction)
    assert body["kept"] == 0


def test_components_and_thumbnails_are_returned_on_request(
    server: Server, photographs: list[bytes], expected: list[Prediction]
) -> None:
    answer = server.predict(photographs[0], components="true", thumbnails="true").json()
    [one] = answer["predictions"]
    assert one["components"] == expected[0].components.tolist()
    for shown, neighbour in zip(one["neighbours"], expected[0].neighbours, strict=True):
        original = Path(neighbour.path.removeprefix("file:")).read_bytes()
        assert base64.b64decode(shown["thumbnail"]) == thumbnail(original)


def test_an_unusable_file_has_a_reason_and_the_others_are_predicted(
    server: Server, photographs: list[bytes], expected: list[Prediction]
) -> None:
    answer = server.predict(photographs[0], b"no picture", photographs[1][:700], photographs[1])
    assert answer.status_code == 200
    first, text, cut, last = answer.json()["predictions"]
    assert_same(first, expected[0])
    assert text["error"] == "not an image: text file"
    assert cut["error"].startswith("damaged: truncated")
    assert_same(last, expected[1])


def test_without_any_usable_file_the_status_is_422(server: Server) -> None:
    answer = server.predict(b"no picture")
    assert answer.status_code == 422
    assert answer.json()["predictions"][0]["error"] == "not an image: text file"


@pytest.mark.parametrize(
    "request_",
    [
        {"content": b""},
        {"files": [("files", ("a.jpg", b""))]},
        {"data": {"keep": "true"}, "files": [("files", ("", b""))]},
        {"content": b"--x\r\n", "headers": {"content-type": f"{FORM}; boundary=x"}},
        {"content": b"x", "headers": {"content-type": FORM}},
        {
            "content": b"--x\r\nwrong",
            "headers": {"content-type": f"{FORM}; boundary=x"},
        },
    ],
)
def test_a_request_without_a_photograph_is_refused_with_a_reason(
    server: Server, request_: dict[str, Any]
) -> None:
    answer = server.client.post("/predict", **request_)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("wanted ")


def test_unknown_paths_and_invalid_options_are_refused_in_the_same_format(
    server: Server, photographs: list[bytes]
) -> None:
    assert server.client.get("/nothing").json() == {"error": "Not Found"}
    assert server.client.get("/predict").status_code == 405
    wrong = server.predict(photographs[0], thumbnails="maybe")
    assert wrong.status_code == 400
    assert "thumbnails" in wrong.json()["error"]


def test_the_model_describes_itself_with_both_evaluations(server: Server) -> None:
    model = server.client.get("/model").json()
    assert model["backbone"] == "EfficientNetLite0"
    assert len(model["labels"]) == 4
    # Of very many training images, the predictor has only some as neighbours.
    assert model["images"] == 2_000_000
    assert model["groups_by"] == {"block": 4}
    assert model["data"] == "fruits/Training"
    assert "somebody" not in str(model)
    shown = [(one["scheme"], one["accuracy"]) for one in model["evaluation"]]
    assert shown == [(one["scheme"], one["accuracy"]) for one in EVALUATION]
    assert model["fruits"] == fruits.__version__


def test_of_several_sources_of_images_each_is_named_without_the_folders_above() -> None:
    images = "data/Training,s3://bucket/private/fruits/more.tar, /mnt/data/Test"
    about = {"backbone": "x", "labels": [], "neighbours": 0, "threshold": 1.0, "computed_by": ""}
    found = card(about | {"images": images}, "1", Settings("unused"))
    assert found["data"] == "data/Training, fruits/more.tar, data/Test"


def test_of_a_source_whose_name_has_a_comma_the_folders_above_are_not_shown() -> None:
    about = {"backbone": "x", "labels": [], "neighbours": 0, "threshold": 1.0, "computed_by": ""}
    images = "/home/anna/private, old/photos"
    found = card(about | {"images": images}, "1", Settings("unused"))
    assert found["data"] == "private, old/photos"


def test_the_limit_of_a_photograph_is_that_of_a_request_if_this_is_smaller() -> None:
    settings = Settings("unused", max_body=10_000_000)
    about = {"backbone": "x", "labels": [], "neighbours": 0, "threshold": 1.0, "computed_by": ""}
    assert card(about, "1", settings)["max_file"] == 10_000_000
    Bodies(settings).require_size(10_000_000)
    with pytest.raises(Refused, match="at most 10000000 bytes per photograph"):
        Bodies(settings).require_size(10_000_001)


def test_the_paths_of_sagemaker_exist(
    server: Server, photographs: list[bytes], expected: list[Prediction]
) -> None:
    assert server.client.get("/ping").status_code == 200
    answer = server.client.post(
        "/invocations", content=photographs[2], headers={"content-type": "image/jpeg"}
    )
    assert_same(answer.json()["predictions"][0], expected[2])


def tensors(answer: dict[str, Any]) -> dict[str, Any]:
    for one in answer["outputs"]:
        size = 1
        for length in one["shape"]:
            size *= length
        assert len(one["data"]) == size
    return {one["name"]: one["data"] for one in answer["outputs"]}


def infer(server: Server, data: list[Any], **more: Any) -> Any:
    image = {"name": "image", "shape": [len(data)], "datatype": "BYTES", "data": data}
    return server.client.post("/v2/models/fruits/infer", json={"inputs": [image], **more})


def test_the_open_inference_protocol_accepts_base64(
    server: Server, photographs: list[bytes], expected: list[Prediction]
) -> None:
    data = [base64.b64encode(one).decode() for one in (*photographs[:3], b"no picture")]
    answer = infer(server, data, id="seven")
    assert answer.status_code == 200
    assert answer.json()["id"] == "seven"
    assert answer.json()["model_name"] == "fruits"
    found = tensors(answer.json())
    good = expected[:3]
    assert found["label"] == [*(one.label for one in good), ""]
    assert found["confidence"] == [*(one.confidence for one in good), 0.0]
    assert found["distance"] == [*(one.distance for one in good), 0.0]
    assert found["error"] == ["", "", "", "not an image: text file"]
    assert found["top_label"][:4] == [label for label, _ in good[0].top]
    assert found["top_probability"][:4] == [chance for _, chance in good[0].top]
    assert "components" not in found


def test_the_open_inference_protocol_accepts_bytes_after_the_json(
    server: Server, photographs: list[bytes], expected: list[Prediction]
) -> None:
    data = b"".join(struct.pack("<I", len(one)) + one for one in photographs[:2])
    size = {"binary_data_size": len(data)}
    image = {"name": "image", "shape": [2], "datatype": "BYTES", "parameters": size}
    outputs = [{"name": "label"}, {"name": "components"}]
    head = json.dumps({"inputs": [image], "outputs": outputs}).encode()
    answer = server.client.post(
        "/v2/models/fruits/infer",
        content=head + data,
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    found = tensors(answer.json())
    assert list(found) == ["label", "components"]
    assert found["label"] == [one.label for one in expected[:2]]
    assert found["components"] == [v for one in expected[:2] for v in one.components.tolist()]


def test_the_protocol_describes_the_model_and_its_health(server: Server) -> None:
    client = server.client
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/fruits/ready").status_code == 200
    assert client.get("/v2").json()["name"] == "fruits"
    described = client.get("/v2/models/fruits").json()
    assert described["versions"] == [client.get("/model").json()["version"]]
    assert described["platform"] == "fruits_openvino"
    assert described["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert client.get("/v2/models/other").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"inputs": []}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "FP32", "data": [1]}]}',
        b'{"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": ["aaaa"]}]}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["***"]}]}',
        b'{"inputs": [{"name": "image", "shape": [0], "datatype": "BYTES", "data": []}]}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES"}]}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["aaaa"]}],'
        b' "outputs": [{"name": "other"}]}',
    ],
)
def test_invalid_requests_of_the_protocol_are_refused_with_a_reason(
    server: Server, body: bytes
) -> None:
    answer = server.client.post("/v2/models/fruits/infer", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("infer: wanted ")


def test_the_description_names_every_path_and_the_pages_load_nothing_from_other_servers(
    server: Server,
) -> None:
    described = server.client.get("/openapi.json").json()["paths"]
    assert {"/predict", "/invocations", "/ping", "/metrics", "/model"} <= described.keys()
    assert {"/v2/health/live", "/v2/health/ready", "/v2/models/fruits/infer"} <= described.keys()
    for path in ("/", "/docs", "/page/style.css", "/page/page.js", "/page/docs.js"):
        text = server.client.get(path).text
        outside = [word for word in text.split() if "://" in word]
        assert not outside, path
        assert "style=" not in text.replace("fill.style.", ""), path
        assert "onclick" not in text


def test_the_files_of_the_page_are_sent_again_only_if_they_changed(server: Server) -> None:
    first = server.client.get("/page/style.css")
    again = server.client.get("/page/style.css", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


def test_metrics_count_requests_photographs_reasons_and_distances(
    server: Server, photographs: list[bytes], expected: list[Prediction]
) -> None:
    names = (
        'fruits_images_total{outcome="known"}',
        'fruits_images_total{outcome="unknown"}',
        'fruits_images_total{outcome="rejected"}',
        'fruits_rejected_images_total{reason="not an image"}',
        'fruits_refused_requests_total{kind="empty"}',
        'fruits_requests_total{path="/predict",status="200"}',
        'fruits_request_seconds_count{path="/predict"}',
        "fruits_distance_count",
        "fruits_distance_sum",
    )
    before = [server.metric(name) for name in names]
    server.predict(*photographs[:5], b"no picture")
    server.client.post("/predict", content=b"")
    grown = [server.metric(name) - old for name, old in zip(names, before, strict=True)]
    unknown = sum(one.unknown for one in expected[:5])
    assert grown[:8] == [5 - unknown, unknown, 1, 1, 1, 1, 2, 5]
    threshold = server.client.get("/model").json()["threshold"]
    assert grown[8] == pytest.approx(sum(one.distance for one in expected[:5]) / threshold)
