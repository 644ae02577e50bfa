from collections.abc import Iterator

import pytest
from failing_store import Store, running

from fruits.storage.s3 import RetryingS3


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
