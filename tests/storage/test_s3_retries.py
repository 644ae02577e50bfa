import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fruits.errors import StorageError
from fruits.spark.failures import spark_errors
from fruits.storage.files import create, read, replace
from fruits.storage.location import filesystem_of
from fruits.storage.s3 import RetryingS3

CONTENT = b"a picture" * 1000


class Store(ThreadingHTTPServer):
    """Holds one object under every key, and answers each key's first requests as it is told.

    Attributes:
        answers: of each key, what its first requests get: a status and a code, ``"lost"`` (it is
            done, and the connection ends), ``"torn"`` (it ends in the middle of the answer).
        asked: how often each key was asked for.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.answers: dict[str, list[tuple[int, str] | str]] = {}
        self.asked: Counter[str] = Counter()
        self.kept: set[str] = set()


class Handler(BaseHTTPRequestHandler):
    server: Store
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        key = self.path.split("?")[0].rpartition("/")[2]
        self.server.asked[key] += 1
        answers = self.server.answers.get(key)
        answer = answers.pop(0) if answers else (200, "")
        body = b"<ListBucketResult/>" if "list-type=2" in self.path else CONTENT
        if self.command == "PUT":
            body = b""
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("If-None-Match") and key in self.server.kept:
                answer = (412, "PreconditionFailed")
            elif answer in ("lost", (200, "")):
                self.server.kept.add(key)
        if answer == "lost":
            self.close_connection = True
            return
        status, code = (200, "") if isinstance(answer, str) else answer
        if code:
            body = f"<Error><Code>{code}</Code><Message>so be it</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:100] if answer == "torn" else body)
        self.close_connection = answer == "torn"

    do_HEAD = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Store]:
    with Store() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with running() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        RetryingS3.clear_instance_cache()
        yield server
        RetryingS3.clear_instance_cache()


def test_what_passes_is_asked_for_again(store: Store) -> None:
    store.answers["a.jpg"] = [
        *[(500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable")],
        *["lost", "torn", (429, "TooManyRequests"), (400, "RequestTimeout")],
    ]
    assert read("s3a://fruits/a.jpg") == CONTENT
    assert store.asked["a.jpg"] == 8


def test_an_object_costs_one_request(store: Store) -> None:
    assert read("s3a://fruits/a.jpg") == CONTENT
    assert store.asked["a.jpg"] == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [((404, "NoSuchKey"), FileNotFoundError), ((403, "AccessDenied"), PermissionError)],
)
def test_what_an_object_itself_refuses_is_its_own_fault(
    store: Store, answer: tuple[int, str], error: type[Exception]
) -> None:
    store.answers["a.jpg"] = [answer]
    with pytest.raises(error):
        read("s3a://fruits/a.jpg")
    assert store.asked["a.jpg"] == 1


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("ExpiredToken", "AWS_ACCESS_KEY_ID"),
        ("InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("RequestTimeTooSkewed", "this machine's clock"),
    ],
)
def test_credentials_that_are_refused_are_named_and_no_fault_of_the_object(
    store: Store, code: str, advice: str
) -> None:
    store.answers["a.jpg"] = [(403, code)]
    with pytest.raises(StorageError, match=f"s3a://fruits/a.jpg: .*refuses.*{code}.*{advice}"):
        read("s3a://fruits/a.jpg")
    assert store.asked["a.jpg"] == 1


def test_an_answer_without_a_reason_names_the_credentials_too(store: Store) -> None:
    store.answers["a.jpg"] = [(403, "")]
    filesystem, path = filesystem_of("s3a://fruits/a.jpg")
    with pytest.raises(StorageError, match=r"refuses the credentials.*Forbidden"), spark_errors():
        filesystem.info(path)


def test_a_store_that_stays_away_is_one_line_when_the_retries_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fruits.storage.s3.RETRY_SECONDS", 2.0)
    store.answers["a.jpg"] = [(503, "SlowDown")] * 1000
    start = time.monotonic()
    with pytest.raises(
        StorageError, match=r"s3a://fruits/a.jpg: the store cannot be used"
    ) as error:
        read("s3a://fruits/a.jpg")
    assert time.monotonic() - start >= 2
    # With the default it would be retried for a minute: about 15 times.
    assert 3 <= store.asked["a.jpg"] <= 8
    assert "\n" not in str(error.value)


def test_a_store_that_comes_back_is_used(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    port = store.server_port
    store.shutdown()
    store.server_close()
    back: list[Store] = []

    def come_back() -> None:
        time.sleep(3)
        back.append(Store(port))
        back[0].serve_forever(0.01)

    thread = threading.Thread(target=come_back, daemon=True)
    start = time.monotonic()
    thread.start()
    assert read("s3a://fruits/a.jpg") == CONTENT
    assert time.monotonic() - start >= 3
    back[0].shutdown()
    back[0].server_close()


@pytest.mark.parametrize("answer", ["refused", (503, "SlowDown")])
def test_a_store_that_is_away_at_the_start_is_reported_in_seconds(
    store: Store, answer: tuple[int, str] | str
) -> None:
    if answer == "refused":
        store.shutdown()
        store.server_close()
    else:
        store.answers["a.jpg"] = [answer] * 1000
    filesystem, path = filesystem_of("s3a://fruits/a.jpg", retry=False)
    start = time.monotonic()
    with pytest.raises(StorageError, match="the store cannot be used"):
        filesystem.info(path)
    # Neither retried for a minute nor more often than botocore's few times.
    assert time.monotonic() - start < 50
    assert store.asked["a.jpg"] <= 3


def test_a_file_whose_creation_was_done_but_not_answered_is_not_created_twice(
    store: Store,
) -> None:
    store.answers["_lock"] = [(404, ""), "lost"]
    assert create("s3a://fruits/_lock", b"mine") is False
    assert store.kept == {"_lock"}


def test_a_small_file_is_written_again_when_the_answer_is_lost(store: Store) -> None:
    store.answers["file"] = ["lost", (500, "InternalError")]
    replace("s3a://fruits/file", b"content")
    assert store.asked["file"] == 3
