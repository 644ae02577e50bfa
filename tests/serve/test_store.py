"""A model in an S3 store: loaded, replaced under load, damaged, and with the store unreachable."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loads import Load, version
from models import Server, served, wait_for
from ports import free_port

from fruits import Predictor
from fruits.storage.s3 import RETRY_SECONDS

URI = "s3://fruits/runs/output"
QUICK = ("--reload-seconds", "0.3", "--workers", "2")


class Store:
    """An S3 server that can be unreachable for a while without losing its contents."""

    def __init__(self) -> None:
        self.port = free_port()
        self._start()

    def _start(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()

    def leave(self) -> None:
        self._server.stop()

    def return_(self) -> None:
        self._start()


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """The store that this process and its child processes use."""
    from fruits.storage.s3 import RetryingS3

    store = Store()
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    RetryingS3.clear_instance_cache()
    yield store
    store.leave()
    RetryingS3.clear_instance_cache()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def bucket(store: Store, model: Path) -> Iterator[Any]:
    """The bucket with the output of a run."""
    import boto3

    bucket = boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket="fruits")
    put(bucket, model / "predictor")
    yield bucket
    bucket.objects.all().delete()


def put(bucket: Any, predictor: Path, *, but: str = "") -> None:
    """Uploads the files of a predictor, the manifest last, like a run."""
    for file in sorted(predictor.iterdir(), key=lambda file: file.name == "predictor.json"):
        if file.name != but:
            bucket.upload_file(str(file), f"runs/output/predictor/{file.name}")


def damage(bucket: Any, predictor: Path, name: str = "classifier.npz") -> None:
    """Uploads a new predictor with one damaged file."""
    put(bucket, predictor)
    content = bytearray((predictor / name).read_bytes())
    content[len(content) // 2] ^= 1
    bucket.put_object(Key=f"runs/output/predictor/{name}", Body=bytes(content))


def test_a_predictor_from_a_store_gives_the_same_predictions_as_a_local_one(
    bucket: Any,
    model: Path,
    photographs: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local = Predictor.load(str(model)).predict(photographs[0])
    named = ("label", "confidence", "unknown", "distance", "top")
    monkeypatch.setenv("FRUITS_CACHE", str(tmp_path))
    for uri in (URI, f"{URI}/predictor", URI.replace("s3://", "s3a://")):
        found = Predictor.load(uri).predict(photographs[0])
        assert [getattr(found, name) for name in named] == [getattr(local, name) for name in named]
        assert found.components.tobytes() == local.components.tobytes()


def test_a_new_model_in_the_store_is_loaded_under_load_and_a_damaged_one_is_refused(
    bucket: Any, other: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    refused = 'fruits_model_loads_total{outcome="refused"}'
    with served(URI, tmp_path, *QUICK) as server:
        before = version(server)
        with Load(server, photographs) as load:
            damage(bucket, other)
            wait_for(lambda: server.metric(refused) >= 1)
            assert version(server) == before
            # A file is missing.
            bucket.Object("runs/output/predictor/classifier.npz").delete()
            wait_for(lambda: server.metric(refused) >= 2)
            assert version(server) == before
            put(bucket, other)
            wait_for(lambda: version(server) != before)
            count = len(load.statuses)
            wait_for(lambda: len(load.statuses) > count + 8)
        assert set(load.statuses) == {200}
        assert load.versions == {before, version(server)}
        assert URI.partition("://")[2] in server.log.read_text()


def test_the_server_works_while_the_store_is_unreachable_and_finds_a_later_model(
    store: Store, bucket: Any, other: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    readable = "fruits_model_place_readable"
    with served(URI, tmp_path, *QUICK) as server:
        before = version(server)
        expected = server.predict(photographs[0]).json()
        assert server.metric(readable) == 1
        store.leave()
        wait_for(lambda: server.metric(readable) == 0, 60)
        assert "the location of the model cannot be read" in server.log.read_text()
        assert server.predict(photographs[0]).json() == expected
        assert ready(server)
        store.return_()
        wait_for(lambda: server.metric(readable) == 1, 60)
        assert version(server) == before
        put(bucket, other)
        wait_for(lambda: version(server) != before)


@pytest.mark.parametrize(
    "changes",
    [
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:{port}"},
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
    ],
)
def test_a_photograph_that_its_store_does_not_take_is_predicted_without_retries(
    store: Store,
    model: Path,
    photographs: list[bytes],
    tmp_path: Path,
    changes: dict[str, str],
) -> None:
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    environment = nothing | {
        name: value.format(port=free_port()) for name, value in changes.items()
    }
    options = ("--keep-uploads", "s3://fruits/kept")
    with served(model, tmp_path, *options, environment=environment) as server:
        # The time after which the client gives up is less than the minute of all retries.
        answer = server.client.post(
            "/predict?keep=true", content=photographs[0], timeout=RETRY_SECONDS * 0.75
        )
        assert (answer.status_code, answer.json()["kept"]) == (200, 0)
        assert "photographs could not be kept" in server.log.read_text()


def ready(server: Server) -> bool:
    return server.client.get("/v2/health/ready").status_code == 200


def test_a_store_that_is_unreachable_at_the_start_is_reported_in_one_line(store: Store) -> None:
    away = os.environ | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    command = [sys.executable, "-m", "fruits.cli", "serve", "--model", URI]
    done = subprocess.run(command, env=away, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("fruits: ")
    assert "the store cannot be used" in line
