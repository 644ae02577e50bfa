"""The application's image is small, has no privileges, and gives the same predictions."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from models import ROOT, wait_for
from ports import free_port

from fruits.predictor import Predictor

pytestmark = pytest.mark.cluster

NAME = "fruits-app-test"


def docker(*command: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *command], capture_output=True, text=True, cwd=ROOT)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image() -> str:
    authorities = Path("/etc/ssl/certs/ca-certificates.crt")
    secret = ["--secret", f"id=ca,src={authorities}"] if authorities.exists() else []
    docker("build", "--quiet", "--target", "app", "--tag", NAME, *secret, ".")
    return NAME


@pytest.fixture(scope="module")
def address(
    image: str, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A container with the privileges of docker-compose.yml, and its address."""
    data = tmp_path_factory.mktemp("data")
    shutil.copytree(model, data / "output")
    for folder in (data, *data.parents[:2]):
        folder.chmod(0o755)
    subprocess.run(["chmod", "-R", "a+rX", data], check=True)
    port = free_port()
    container = docker(
        *("run", "--detach", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges:true", "--volume", f"{data}:/data:ro"),
        *("--env", "FRUITS_SERVE_MODEL=/data/output", "--env", "FRUITS_SERVE_PUBLIC=true"),
        *("--publish", f"127.0.0.1:{port}:8000", "--health-interval", "1s", image),
    )
    status = ("inspect", "--format", "{{.State.Health.Status}}", container)
    try:
        wait_for(lambda: docker(*status) == "healthy")
        yield container, f"http://127.0.0.1:{port}"
    finally:
        docker("rm", "--force", container)


def test_the_image_is_small_and_has_neither_java_nor_spark_nor_tensorflow(image: str) -> None:
    [found] = json.loads(docker("image", "inspect", image))
    assert found["Size"] <= 600e6
    assert found["Config"]["User"] == "1000"
    assert found["Config"]["Healthcheck"]
    program = (
        "import importlib.util as u, shutil;"
        "print([n for n in ('pyspark', 'tensorflow', 'jupyterlab', 'pip') if u.find_spec(n)],"
        "shutil.which('java'))"
    )
    shown = docker("run", "--rm", "--entrypoint", "python", image, "-c", program)
    assert shown == "[] None"


def test_a_container_without_a_token_and_without_public_does_not_start(image: str) -> None:
    done = subprocess.run(
        ["docker", "run", "--rm", image, "serve", "--model", "/data"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fruits: host: wanted a token for 0.0.0.0")


def test_the_container_predicts_and_ends_with_status_0(
    address: tuple[str, str], model: Path, photographs: list[bytes]
) -> None:
    container, url = address
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        answer = client.post("/predict", content=photographs[0]).json()
    expected = Predictor.load(str(model)).predict(photographs[0])
    assert answer["predictions"][0]["label"] == expected.label
    assert answer["predictions"][0]["distance"] == pytest.approx(expected.distance, rel=1e-4)
    docker("stop", "--time", "40", container)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
