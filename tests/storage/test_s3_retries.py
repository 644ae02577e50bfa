import threading
import time

import pytest
from failing_store import CONTENT, Store

from fruits.errors import StorageError
from fruits.spark.failures import spark_errors
from fruits.storage.files import create, read, replace
from fruits.storage.location import Location, filesystem_of


def test_transient_errors_are_retried(store: Store) -> None:
    store.answers["a.jpg"] = [
        *[(500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable")],
        *["lost", "torn", (429, "TooManyRequests"), (400, "RequestTimeout")],
        (409, "ConditionalRequestConflict"),
    ]
    assert read("s3a://fruits/a.jpg") == CONTENT
    assert store.asked["a.jpg"] == 9


def test_an_object_is_read_with_one_request(store: Store) -> None:
    assert read("s3a://fruits/a.jpg") == CONTENT
    assert store.asked["a.jpg"] == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [((404, "NoSuchKey"), FileNotFoundError), ((403, "AccessDenied"), PermissionError)],
)
def test_an_error_of_one_object_is_not_an_error_of_the_store(
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
def test_refused_credentials_are_an_error_of_the_store(
    store: Store, code: str, advice: str
) -> None:
    store.answers["a.jpg"] = [(403, code)]
    with pytest.raises(StorageError, match=f"s3a://fruits/a.jpg: .*refuses.*{code}.*{advice}"):
        read("s3a://fruits/a.jpg")
    assert store.asked["a.jpg"] == 1


def test_a_refusal_without_a_reason_names_the_credentials(store: Store) -> None:
    store.answers["a.jpg"] = [(403, "")]
    filesystem, path = filesystem_of("s3a://fruits/a.jpg")
    with pytest.raises(StorageError, match=r"refuses the credentials.*Forbidden"), spark_errors():
        filesystem.info(path)


def test_an_unreachable_store_is_reported_in_one_line_after_the_retries(
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
    # s3fs repeats a request four times within two seconds, so it is called once or twice; with the
    # default of a minute, there would be about 60 requests.
    assert 3 <= store.asked["a.jpg"] <= 12
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_store_that_comes_back_is_used_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_a_store_that_is_unreachable_at_the_start_is_reported_within_seconds(
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
    # It is not retried for a minute, and not more often than botocore itself does.
    assert time.monotonic() - start < 50
    assert store.asked["a.jpg"] <= 3


def test_a_file_is_not_created_twice_when_the_response_is_lost(
    store: Store,
) -> None:
    store.answers["_lock"] = [(404, ""), "lost"]
    assert create(Location.of("s3a://fruits/_lock"), b"mine") is False
    assert store.kept == {"_lock"}


def test_a_small_file_is_written_again_when_the_response_is_lost(store: Store) -> None:
    store.answers["file"] = ["lost", (500, "InternalError")]
    replace(Location.of("s3a://fruits/file"), b"content")
    assert store.asked["file"] == 3
