"""Malicious and careless clients are refused, and do not affect others."""

import io
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from models import Server, served, wait_for
from PIL import Image

from fruits.serve.server import listen
from fruits.serve.settings import Settings

TOKEN = "correct-horse-battery-staple"

# Crashes or blocks the process that decodes certain contents, like broken native code; and shortens
# the ten seconds that a client has for its headers.
POISON = """
import os, signal
import fruits.networks.runtime as engines
import fruits.serve.connections as connections
connections.HEADER_SECONDS = 3
decode = engines.decode
def poisoned(content, *options):
    if b"POISON crash" in content:
        os.kill(os.getpid(), signal.SIGSEGV)
    while b"POISON hang" in content:
        pass
    return decode(content, *options)
engines.decode = poisoned
"""

SMALL = (
    *("--max-file", "100000", "--max-body", "250000", "--max-files", "4", "--queue", "16"),
    *("--image-seconds", "2", "--upload-seconds", "3"),
)


@pytest.fixture(scope="module")
def strict(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with small limits, whose decoder can be poisoned."""
    folder = tmp_path_factory.mktemp("strict")
    (folder / "sitecustomize.py").write_text(POISON)
    root = str(Path(__file__).parents[2])
    with served(model, folder, *SMALL, environment={"PYTHONPATH": f"{folder}:{root}"}) as server:
        yield server


def raw(server: Server, *parts: bytes, seconds: float = 15, pause: float = 0) -> bytes:
    """The server's response to bytes on a connection, which it must close."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:  # The server closed the connection while the test was sending.
            return b""


def test_a_file_that_is_too_large_is_refused(strict: Server, photographs: list[bytes]) -> None:
    for answer in (
        strict.client.post("/predict", content=photographs[0] + bytes(100_000)),
        strict.predict(photographs[0], bytes(100_001)),
    ):
        assert answer.status_code == 413
        assert answer.json()["error"] == "wanted at most 100000 bytes per photograph; got more"


def test_a_body_is_counted_even_if_its_declared_length_is_wrong(
    strict: Server, photographs: list[bytes]
) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(400):
            yield bytes(1000)

    announced = strict.predict(*[photographs[0] + bytes(80_000)] * 4)
    assert announced.status_code == 413
    assert "250000 bytes per request" in announced.json()["error"]
    head = b"POST /v2/models/fruits/infer HTTP/1.1\r\nHost: localhost\r\n"
    chunks = b"".join(b"%x\r\n" % len(part) + part + b"\r\n" for part in endless())
    answer = raw(strict, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 413 ")
    lying = raw(strict, head + b"Content-Length: 10\r\n\r\n" + bytes(1000))
    assert lying.startswith(b"HTTP/1.1 400 ")


def test_too_many_files_or_fields_are_refused(strict: Server, photographs: list[bytes]) -> None:
    assert strict.predict(*photographs[:4]).status_code == 200
    answer = strict.predict(*photographs[:5])
    assert answer.status_code == 413
    assert answer.json()["error"] == "wanted at most 4 photographs; got more"
    fields = {f"field{n}": "x" for n in range(20)}
    files = {"files": ("a.jpg", photographs[0])}
    assert strict.client.post("/predict", data=fields, files=files).status_code == 413
    long = strict.client.post("/predict", data={"keep": "x" * 2000}, files=files)
    assert long.status_code == 413


def test_a_decompression_bomb_is_rejected_with_a_reason(strict: Server) -> None:
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG", optimize=False)
    bomb = buffer.getvalue()[:90_000]
    [answer] = strict.predict(bomb).json()["predictions"]
    assert answer["error"].startswith("too large: 30000 x 30000 pixels")


def test_a_crashing_photograph_is_the_only_one_that_is_rejected(
    strict: Server, photographs: list[bytes]
) -> None:
    answer = strict.predict(photographs[0], photographs[1] + b"POISON crash", photographs[2])
    assert answer.status_code == 200
    first, crashed, last = answer.json()["predictions"]
    assert crashed["error"] == "crashed: the process that decodes died of SIGSEGV"
    assert first["label"]
    assert last["label"]
    assert strict.predict(photographs[3]).status_code == 200
    assert strict.metric("fruits_predictor_deaths") >= 1


def test_a_photograph_that_takes_too_long_is_rejected_and_others_are_predicted(
    strict: Server, photographs: list[bytes]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        slow = pool.submit(strict.predict, photographs[0] + b"POISON hang")
        time.sleep(0.5)
        others = [pool.submit(strict.predict, one) for one in photographs[:3]]
        assert [other.result().status_code for other in others] == [200] * 3
        assert slow.result().status_code == 422
        [answer] = slow.result().json()["predictions"]
    assert answer["error"].startswith("too slow: ")


def test_a_full_queue_says_when_to_retry(strict: Server, photographs: list[bytes]) -> None:
    with ThreadPoolExecutor(9) as pool:
        # The queue does not change while this photograph is decoded.
        slow = pool.submit(strict.predict, photographs[0] + b"POISON hang")
        time.sleep(0.5)
        sent = [pool.submit(strict.predict, *photographs[:4]) for _ in range(8)]
        answers = [one.result() for one in sent]
        slow.result()
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 4 + [429] * 4
    for answer in answers:
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
    assert strict.metric('fruits_refused_requests_total{kind="busy"}') >= 4


def test_photographs_of_clients_that_have_gone_are_not_looked_at(
    strict: Server, photographs: list[bytes]
) -> None:
    names = [f'fruits_images_total{{outcome="{kind}"}}' for kind in ("known", "unknown")]
    gone = 'fruits_refused_requests_total{kind="gone"}'
    counts, left = [strict.metric(name) for name in names], strict.metric(gone)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    with ThreadPoolExecutor(1) as pool:
        # The queue does not change while this photograph is decoded.
        slow = pool.submit(strict.predict, photographs[0] + b"POISON hang")
        time.sleep(0.5)
        for photograph in photographs[:6]:
            with socket.create_connection(("127.0.0.1", strict.port)) as connection:
                connection.sendall(head % len(photograph) + photograph)
        wait_for(lambda: strict.metric(gone) == left + 6)
        slow.result()
    wait_for(lambda: strict.metric("fruits_buffered_bytes") == 0)
    assert strict.metric("fruits_queue_images") == 0
    assert [strict.metric(name) for name in names] == counts


def test_after_a_crash_photographs_of_clients_that_have_gone_are_not_tried_again(
    strict: Server, photographs: list[bytes]
) -> None:
    deaths = strict.metric("fruits_predictor_deaths")
    slow = photographs[0] + b"POISON hang"
    files = [("files", (f"{n}.jpg", slow)) for n in range(3)]
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{strict.url}/predict", files=files, timeout=1)
    assert strict.predict(photographs[1]).status_code == 200
    # On a busy machine, the client may have gone before its photographs were tried at all.
    assert strict.metric("fruits_predictor_deaths") <= deaths + 1


def test_clients_that_send_too_slowly_are_dropped(strict: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
    with ThreadPoolExecutor(3) as pool:
        # A response that takes longer than these seconds fails.
        slow = pool.submit(raw, strict, head, *[b"x"] * 9, pause=0.5, seconds=60)
        half = pool.submit(raw, strict, b"GET / HTTP/1.1\r\nHost: loc", seconds=60)
        silent = pool.submit(raw, strict, seconds=60)
        assert slow.result().startswith(b"HTTP/1.1 408 ")
        # Headers that never end get no response, and the connection is closed.
        assert half.result() == b""
        assert silent.result() == b""
    assert strict.client.get("/ping").status_code == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
)
def test_data_that_are_not_http_close_only_their_connection(strict: Server, garbage: bytes) -> None:
    # With this header, the server also closes the connection after a valid request.
    answer = raw(strict, garbage.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert strict.client.get("/ping").status_code == 200


def test_64_clients_at_the_same_time_with_malicious_ones(
    server: Server, photographs: list[bytes]
) -> None:
    expected = [server.predict(one).json()["predictions"][0]["distance"] for one in photographs]
    stop = threading.Event()

    def slow(_: int) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n"
            )
            while not stop.wait(0.2):
                connection.sendall(b"x")

    def broken(_: int) -> None:
        for _ in range(10):
            raw(server, b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-", b"\xff\r\n\r\n")

    def huge(_: int) -> int:
        return server.client.post("/predict", content=bytes(70 << 20)).status_code

    def good(number: int) -> list[Any]:
        place = number % len(photographs)
        wanted = 200, expected[place]
        with httpx.Client(base_url=server.url, timeout=120, trust_env=False) as client:
            answers = [client.post("/predict", content=photographs[place]) for _ in range(3)]
        got = [(a.status_code, a.json()["predictions"][0]["distance"]) for a in answers]
        return [one for one in got if one != wanted]

    with ThreadPoolExecutor(64) as pool:
        hostile = [pool.submit(slow, n) for n in range(8)] + [
            pool.submit(broken, n) for n in range(4)
        ]
        sizes = [pool.submit(huge, n) for n in range(4)]
        wrong = [pool.submit(good, n) for n in range(48)]
        assert [one.result() for one in wrong] == [[]] * 48
        assert {size.result() for size in sizes} == {413}
        stop.set()
        for one in hostile:
            one.exception()
    # The server notices a moment later that clients are gone.
    wait_for(lambda: server.metric("fruits_buffered_bytes") == 0)
    assert server.metric("fruits_queue_images") == 0


def test_random_bytes_never_crash_the_server(server: Server, photographs: list[bytes]) -> None:
    rng = random.Random(7)
    restarts = server.metric("fruits_predictor_deaths")
    for _ in range(60):
        content = bytearray(rng.choice(photographs))
        for _ in range(rng.randint(1, 40)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        form = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
        body = form + bytes(content) + b"\r\n--x--\r\n"
        for _ in range(rng.randint(0, 3)):
            at = rng.randrange(len(form)) if rng.random() < 0.5 else rng.randrange(len(body))
            body = body[:at] + rng.randbytes(rng.randint(0, 3)) + body[at + 1 :]
        kind = {"content-type": "multipart/form-data; boundary=x"}
        answer = server.client.post("/predict", content=body, headers=kind)
        assert answer.status_code in (200, 400, 413, 422)
        assert answer.json()
    assert server.metric("fruits_predictor_deaths") == restarts


def test_every_response_has_the_headers_that_protect_a_browser(server: Server) -> None:
    for path in ("/", "/docs", "/model", "/nothing", "/page/page.js"):
        headers = server.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_pages_of_other_sites_cannot_use_a_server_without_a_token(
    server: Server, photographs: list[bytes]
) -> None:
    client = server.client
    renamed = client.get("/model", headers={"Host": "evil.example"})
    assert renamed.status_code == 403
    assert "labels" not in renamed.text
    foreign = client.post(
        "/predict", content=photographs[0], headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert foreign.status_code == 403


def test_all_paths_but_the_page_and_the_probes_require_the_token(
    model: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    options = ("--token-file", str(tmp_path / "token"), "--host", "0.0.0.0")
    with served(model, tmp_path, *options) as server:
        client = server.client
        for path in ("/", "/docs", "/page/page.js", "/ping", "/v2/health/ready"):
            assert client.get(path).status_code == 200, path
        for path in ("/model", "/metrics", "/v2", "/v2/models/fruits", "/nothing"):
            assert client.get(path).status_code == 401, path
        for wrong in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \xff"):
            headers = {"Authorization": wrong.encode("latin-1")}
            answer = client.post("/predict", content=photographs[0], headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post("/predict", content=photographs[0], headers=right).status_code == 200
        assert client.get("/metrics", headers=right).status_code == 200
        assert TOKEN not in server.log.read_text()


def test_the_token_is_read_once_so_that_it_may_come_from_a_pipe(
    model: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "token")
    # The other end of the pipe is written once, as by `--token-file <(command)`.
    writing = threading.Thread(target=lambda: (tmp_path / "token").write_text(TOKEN), daemon=True)
    writing.start()
    with served(model, tmp_path, "--token-file", str(tmp_path / "token")) as server:
        assert "with a token; plain HTTP: for HTTPS, put a proxy in front" in server.log.read_text()
        assert server.client.get("/model").status_code == 401
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert server.client.get("/model", headers=right).status_code == 200


def test_logs_have_neither_file_names_nor_labels_nor_queries(
    server: Server, photographs: list[bytes]
) -> None:
    files = {"files": ("my-secret-name.jpg", photographs[0])}
    answer = server.client.post("/predict?thumbnails=true&x=secret-query", files=files)
    label = answer.json()["predictions"][0]["label"]
    server.client.get("/secret-path")
    wait_for(lambda: "GET other 404" in server.log.read_text())
    log = server.log.read_text()
    assert "secret" not in log
    assert label not in log
    assert re.search(r"INFO POST /predict 200 \d+ ms", log)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "{tmp}/none"], "wanted the output of a finished run"),
        (["--port", "70000"], "port: wanted 0 to 65535"),
        (["--host", "0.0.0.0"], "host: wanted a token for 0.0.0.0"),
        (["--host", "0.0.0.0", "--token-file", "{tmp}/short"], "token: wanted at least 16"),
        (["--token-file", "{tmp}/missing"], "token_file: wanted a text file"),
        (["--queue", "2"], "queue: wanted at least the 32 photographs"),
        (["--max-body", "300000000"], "max_body: wanted 1 to 268435456; got 300000000"),
        (["--host", "a..b", "--public"], "host: wanted an address"),
        (["--name", "a/b"], "name: wanted at most 64 letters"),
        (["--workers", "0"], "workers: wanted 1 to"),
        (["--image-seconds", "nan"], "image_seconds: wanted"),
        # No request gets a prediction after this time.
        (["--image-seconds", "61"], "image_seconds: wanted 0.1 to 60; got 61"),
        (["--keep-uploads", "nothing://x"], "wanted a path, or a URI"),
        (["--port", "{busy}"], "choose another --port"),
        (["--host", "no.such.host.invalid", "--public"], "host: wanted an address"),
    ],
)
def test_invalid_options_are_one_line_and_status_2(
    options: list[str], words: str, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "short").write_text("short")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        names = {"tmp": tmp_path, "busy": busy.getsockname()[1]}
        given = [option.format(**names) for option in options]
        if "--model" not in given:
            given += ["--model", str(model)]
        done = subprocess.run(
            [sys.executable, "-m", "fruits.cli", "serve", *given],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_response_does_not_wait_until_the_client_acknowledges_its_headers() -> None:
    with (
        listen(Settings("unused", port=0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
