"""Requests of various programs: forms without names, other names of this machine, HEAD."""

import base64
import gzip
import http.client
import json

import httpx
import pytest
from models import Server

END = b"\r\n--x--\r\n"


def part(head: bytes, content: bytes) -> bytes:
    return b"--x\r\n" + head + b"\r\n\r\n" + content


def send(server: Server, *parts: bytes) -> httpx.Response:
    body = b"\r\n".join(parts) + END
    kind = {"content-type": "multipart/form-data; boundary=x"}
    return server.client.post("/predict", content=body, headers=kind)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'Content-Disposition: form-data; name=f; filename="\xc3\xa9t\xc3\xa9.jpg"', "été.jpg"),
        (b"Content-Disposition: form-data; name=f; filename*=UTF-8''%C3%A9t%C3%A9.jpg", "été.jpg"),
        (b"Content-Disposition: form-data; name=f; filename*=none''%C3%A9.jpg", None),
        (b"Content-Disposition: form-data; name=f; filename*=utf-8''a; filename*0=b", None),
        (b"Content-Disposition: form-data; name=f; filename*=idna''%C3%A9.jpg", None),
        (b"Content-Disposition: form-data; name=f\r\nContent-Type: image/jpeg", ""),
        (b"Content-Type: application/octet-stream\r\nContent-Disposition: form-data; name=f", ""),
    ],
)
def test_a_photograph_is_one_however_its_name_is_written(
    server: Server, photographs: list[bytes], head: bytes, name: str | None
) -> None:
    [found] = send(server, part(head, photographs[0])).json()["predictions"]
    [expected] = server.predict(photographs[0]).json()["predictions"]
    assert found["distance"] == expected["distance"]
    if name is not None:
        assert found["file"] == name


def test_a_photograph_that_is_sent_as_text_says_how_to_send_it(
    server: Server, photographs: list[bytes]
) -> None:
    answer = server.client.post("/predict", files={"files": (None, photographs[0])})
    assert answer.status_code == 413
    assert "curl -F files=@photo.jpg" in answer.json()["error"]


def test_a_field_of_a_form_in_which_no_file_was_chosen_is_no_photograph(
    server: Server, photographs: list[bytes]
) -> None:
    none = b'Content-Disposition: form-data; name="a"; filename=""\r\nContent-Type: image/png'
    one = b'Content-Disposition: form-data; name="b"; filename="b.jpg"'
    answer = send(server, part(none, b""), part(one, photographs[0]), part(one, b""))
    names = [(p["file"], p.get("error")) for p in answer.json()["predictions"]]
    assert names == [("b.jpg", None), ("b.jpg", "not an image: empty file")]


def test_empty_fields_for_files_are_counted(server: Server, photographs: list[bytes]) -> None:
    none = b'Content-Disposition: form-data; name="a"; filename=""'
    one = b'Content-Disposition: form-data; name="b"; filename="b.jpg"'
    for count, status in ((8, 200), (9, 413)):
        parts = [part(none, b"")] * count
        assert send(server, *parts, part(one, photographs[0])).status_code == status


def test_a_compressed_body_is_refused_in_words(server: Server, photographs: list[bytes]) -> None:
    for path in ("/predict", "/v2/models/fruits/infer"):
        content, headers = gzip.compress(photographs[0]), {"Content-Encoding": "gzip"}
        answer = server.client.post(path, content=content, headers=headers)
        assert answer.status_code == 415
        assert "without Content-Encoding" in answer.json()["error"]
    plain = {"Content-Encoding": "Identity"}
    assert server.client.post("/predict", content=photographs[0], headers=plain).is_success


def test_a_field_with_a_content_type_is_no_photograph(
    server: Server, photographs: list[bytes]
) -> None:
    field = b"Content-Disposition: form-data; name=note\r\nContent-Type: application/json"
    photograph = b'Content-Disposition: form-data; name="b"; filename="b.jpg"'
    answer = send(server, part(field, b"true"), part(photograph, photographs[0]))
    assert [one["file"] for one in answer.json()["predictions"]] == ["b.jpg"]


def ask(server: Server, host: str | None, version: int = 11) -> int:
    """The status for a request with this Host header, or without one."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection._http_vsn, connection._http_vsn_str = version, f"HTTP/1.{version - 10}"
    connection.putrequest("GET", "/model", skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:1", "localhost.", "fruits.localhost:8000"),
        *("127.0.0.1", "127.0.0.2:80", "[::1]", "[0:0:0:0:0:0:0:1]:8000"),
    ],
)
def test_every_name_of_this_machine_is_accepted(server: Server, host: str) -> None:
    assert ask(server, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evillocalhost"),
        *("[::1].evil.example", "[::1", "127.0.0.1@evil.example", "0.0.0.0", "10.0.0.1", "[::2]"),
    ],
)
def test_no_other_name_is(server: Server, host: str) -> None:
    assert ask(server, host) == 403


def test_a_program_of_http_1_0_needs_no_name(server: Server) -> None:
    assert ask(server, None, version=10) == 200


def test_head_answers_like_get_without_the_body(server: Server) -> None:
    for path in ("/", "/ping", "/model", "/metrics", "/nothing"):
        get, head = server.client.get(path), server.client.head(path)
        assert head.status_code == get.status_code, path
        assert head.content == b""
        assert head.headers["content-type"] == get.headers["content-type"] if get.content else True
    refused = server.client.head("/predict")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "POST"


def test_no_answer_leads_to_an_address_that_the_client_names(server: Server) -> None:
    for path in ("/predict/", "/docs/", "/v2/", "//evil.example/"):
        answer = server.client.get(f"{server.url}{path}")
        assert answer.status_code == 404
        assert "location" not in answer.headers


def test_what_the_protocol_asks_for_is_bounded(server: Server, photographs: list[bytes]) -> None:
    # Small requests that would cost much memory and time.
    image = {"name": "image", "shape": [1], "datatype": "BYTES"}
    good = image | {"data": [base64.b64encode(photographs[0]).decode()]}
    outputs = [{"name": "components"}] * 1000
    many = b"[]," * 200_000
    bodies = {
        "outputs that the model has, each once": {"inputs": [good], "outputs": outputs},
        "images in base64": {"inputs": [image | {"data": [1234]}]},
    }
    texts = {words: json.dumps(body).encode() for words, body in bodies.items()}
    texts["at most 10000 values"] = b'{"inputs": [' + many + b"{}]}"
    for words, body in texts.items():
        answer = server.client.post("/v2/models/fruits/infer", content=body)
        assert answer.status_code == 400
        assert f"wanted {words}" in answer.json()["error"]
    length = {"Inference-Header-Content-Length": "9" * 5000}
    answer = server.client.post("/v2/models/fruits/infer", content=b"{}", headers=length)
    assert answer.status_code == 400
    assert "Inference-Header-Content-Length" in answer.json()["error"]
