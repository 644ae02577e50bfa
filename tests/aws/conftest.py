"""A server with the API of AWS: moto in a separate process, on loopback."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port

# The only region that moto supports for EMR if clients use the address of its server.
REGION = "us-east-1"


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server, which runs until the end of the tests."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment(url, log.parent),
        )
    try:
        deadline = time.monotonic() + 60
        while not answers(url):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def aws(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty account for each module, used by boto3 and by processes that a test starts.

    Yields the address of the server. Endpoint, region and credentials are in the environment, and
    the profiles of this machine are not read. The tests of a module share the account.
    """
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST"))
    before = dict(os.environ)
    changed = environment(moto, tmp_path_factory.mktemp("aws"))
    os.environ.clear()
    os.environ.update(changed)
    yield moto
    os.environ.clear()
    os.environ.update(before)


def environment(url: str, folder: Path) -> dict[str, str]:
    """The environment of this process, with the server instead of Amazon's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests-only",
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        # Requests to loopback do not use a proxy.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def answers(url: str) -> bool:
    """Whether a server responds."""
    try:
        return bool(urllib.request.urlopen(f"{url}/moto-api/", timeout=2).status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls stacks often."""
    monkeypatch.setattr("fruits.cloud.stacks.POLL_SECONDS", 0.01)
