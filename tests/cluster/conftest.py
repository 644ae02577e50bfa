"""Containers of the real image on a real Docker engine; ``make test-cluster`` runs these tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import ROOT, RUN, Compose, say

from fruits.sample import draw_sample

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks all tests of this folder, because they need a Docker engine."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def image() -> str:
    """The image, built from this tree."""
    if shutil.which("docker") is None:
        pytest.fail("docker is missing: deploy/docker/engine.sh installs and starts it")
    certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    done = say(
        *("docker", "buildx", "build", "--load", "--tag", "fruits:latest"),
        *("--network=host", "--secret", f"id=ca,src={certificates}", str(ROOT)),
        timeout=3000,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return "fruits:latest"


@pytest.fixture(scope="session")
def compose(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    compose = Compose(tmp_path_factory.mktemp("compose"))
    compose("--profile", "*", "down", "--volumes", "--remove-orphans")
    yield compose
    compose("--profile", "*", "down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="session")
def sample(compose: Compose) -> str:
    """A data set in the volume /data; returns its path in the containers."""
    draw_sample(str(compose.data / "sample"), classes=6, per_class=40)
    return "/data/sample/Training"


@pytest.fixture(scope="session")
def cluster(compose: Compose, sample: str) -> Compose:
    """The cluster, with one worker."""
    compose.workers(1)
    return compose


@pytest.fixture(scope="session")
def local(compose: Compose, sample: str) -> Path:
    """The results of a run with ``local[*]``, which starts no Spark for so few images."""
    compose.fruits(*("run", *RUN, "--images", sample, "--output", "/data/local"), master="local[*]")
    return compose.data / "local"
