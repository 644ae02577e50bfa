"""The handshake with a real Spark master, with the secret of the cluster and with another one."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from ports import free_port

from fruits.spark.configuration import CHECKOUT

pytestmark = pytest.mark.spark

SPARK_CLASS = Path(pyspark.__file__).parent / "bin/spark-class"
SECRET = "the-secret-of-the-cluster"


def environment(folder: Path, secret: str, master: str = "") -> dict[str, str]:
    """An environment in which Spark is configured as in the image, with this secret."""
    folder.mkdir()
    lines = [
        (CHECKOUT / "spark-defaults.conf").read_text(),
        f"spark.authenticate.secret {secret}",
        "spark.deploy.recoveryMode NONE",
        f"spark.master {master}" if master else "",
    ]
    (folder / "spark-defaults.conf").write_text("\n".join(lines))
    for name in ("log4j2.properties", "spark-env.sh"):
        (folder / name).write_text((CHECKOUT / name).read_text())
    dropped = ("PYSPARK_SUBMIT_ARGS", "SPARK_ENV_LOADED")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"SPARK_CONF_DIR": str(folder)}


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Starts a master; yields its address."""
    port, page = free_port(), free_port()
    folder = tmp_path_factory.mktemp("master")
    log = folder / "log"
    place = ["--host", "localhost", "--port", str(port), "--webui-port", str(page)]
    with (
        log.open("w") as file,
        subprocess.Popen(
            [SPARK_CLASS, "org.apache.spark.deploy.master.Master", *place],
            stdout=file,
            stderr=file,
            env=environment(folder / "conf", SECRET),
        ) as process,
    ):
        deadline = time.monotonic() + 120
        while not is_open(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
        yield f"spark://localhost:{port}"
        process.terminate()


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def ask(where: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fruits.spark.cluster", where],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_clusters_own_secret_is_accepted(master: str, tmp_path: Path) -> None:
    done = ask(master, environment(tmp_path / "conf", SECRET))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_another_secret_is_one_line_and_status_2(master: str, tmp_path: Path) -> None:
    done = ask(master, environment(tmp_path / "conf", "x" + SECRET))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"the master at {master} refuses the secret" in done.stderr
    assert SECRET not in done.stderr


def test_a_master_that_does_not_answer_refuses_nothing(tmp_path: Path) -> None:
    done = ask(f"spark://localhost:{free_port()}", environment(tmp_path / "conf", SECRET))
    assert done.returncode == 0, done.stderr


def session(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a program that tries to get a session, and that prints the error."""
    code = (
        "from fruits.errors import FruitsError\n"
        "from fruits.spark import cluster\n"
        "from fruits.spark.session import get_spark\n"
        # Instead of 20 seconds, which would be waited out where there is no master.
        "cluster.START_SECONDS = 2\n"
        "try:\n    get_spark()\n"
        "except FruitsError as error:\n    print(type(error).__name__, error)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300
    )


def test_a_driver_with_another_secret_ends_with_one_line(master: str, tmp_path: Path) -> None:
    done = session(environment(tmp_path / "conf", "x" + SECRET, master))
    assert done.stdout.startswith(f"ClusterError the master at {master} refuses the secret")
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_a_driver_without_a_master_ends_with_one_line(tmp_path: Path) -> None:
    nowhere = f"spark://localhost:{free_port()}"
    done = session(environment(tmp_path / "conf", SECRET, nowhere))
    assert done.stdout.startswith(f"ClusterError no master answers at {nowhere}")
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
