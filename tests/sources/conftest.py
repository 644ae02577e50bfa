from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from moto.server import ThreadedMotoServer

from fruits.storage.s3 import RetryingS3


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes of sources are made again for each test."""
    monkeypatch.setenv("FRUITS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The empty bucket "fruits" of a real server that speaks S3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    RetryingS3.clear_instance_cache()
    bucket = boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket="fruits")
    yield bucket
    bucket.objects.all().delete()
    RetryingS3.clear_instance_cache()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests to S3, in their order: what was called."""
    called: list[str] = []
    call = RetryingS3._call_s3

    async def counted(self: RetryingS3, method: str, *arguments: Any, **options: Any) -> Any:
        called.append(method)
        return await call(self, method, *arguments, **options)

    monkeypatch.setattr(RetryingS3, "_call_s3", counted)
    return called
