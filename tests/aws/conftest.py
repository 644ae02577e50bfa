"""A real server that speaks AWS: moto in a process of its own, on loopback."""

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

# The one region that moto's EMR knows when it is reached by an address of its own.
REGION = "us-east-1"


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's address; it runs until the tests end."""
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
    """An empty account for each module: boto3, and processes that a test starts, find it.

    Yields the server's address. Endpoint, region and credentials are in the environment; the
    machine's own profiles are out of reach. Within a module, what a test makes stays.
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
    """This process' environment, with the server in place of Amazon."""
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
        # Nothing of loopback goes by a proxy.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def answers(url: str) -> bool:
    """Whether a server is there."""
    try:
        return bool(urllib.request.urlopen(f"{url}/moto-api/", timeout=2).status == 200)
    except (urllib.error.URLError, OSError):
        return False
