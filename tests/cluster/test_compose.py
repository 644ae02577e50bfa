"""docker-compose.yml for its users: refused settings, printed addresses, isolation, cleaning up."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from containers import RUN, Compose, say, wait_for

SECRET_FILE = ("-f", "docker-compose.yml", "-f", "deploy/docker/secret-file.yml")


@pytest.fixture
def fresh(image: str, tmp_path: Path) -> Iterator[Compose]:
    """A project without running containers, whose /data is a volume."""
    fresh = Compose(tmp_path, "fruits-fresh")
    del fresh.variables["DATA"]
    fresh("--profile", "*", "down", "--volumes", "--remove-orphans")
    yield fresh
    fresh("--profile", "*", "down", "--volumes", "--remove-orphans")


def left(compose: Compose, kind: str = "container") -> list[str]:
    """The ids of the project's containers, or of its objects of another kind."""
    every = ["--all"] if kind == "container" else []
    chosen = ["--filter", f"label=com.docker.compose.project={compose.project}"]
    return say("docker", kind, "ls", "-q", *every, *chosen).stdout.split()


def health(container: str) -> str:
    """The health of a container, as reported by Docker."""
    return say("docker", "inspect", "-f", "{{.State.Health.Status}}", container).stdout.strip()


def configuration(compose: Compose, *files: str, **variables: str | None) -> dict[str, Any]:
    text = compose.ok(*files, "--profile", "*", "config", "--format", "json", **variables)
    services: dict[str, Any] = json.loads(text)["services"]
    return services


# ---- The documented commands


def test_a_local_run_needs_no_secret_and_leaves_nothing(fresh: Compose) -> None:
    done = fresh(
        *("run", "--rm", "-T", "-e", "SPARK_MASTER=local[*]", "run"),
        # No images are given: a new volume contains those of the notebook's default.
        *("-p", "output", "/data/out", "-p", "backbone", "EfficientNetLite0", "-p", "limit", "60"),
        SPARK_SECRET=None,
    )
    assert done.returncode == 0, done.stdout
    shown = fresh.ok(
        *("run", "--rm", "-T", "--entrypoint", "cat", "run", "/data/out/run.json"),
        SPARK_SECRET=None,
    )
    assert '"extracted": 60' in shown
    fresh.ok("--profile", "*", "down", "--volumes", SPARK_SECRET=None)
    for kind in ("container", "volume", "network"):
        assert left(fresh, kind) == []


def test_a_run_without_images_says_what_to_pass(fresh: Compose) -> None:
    (fresh.folder / "empty").mkdir()
    done = fresh(
        *("run", "--rm", "-T", "-e", "SPARK_MASTER=local[*]", "run", "-p", "chunk", "10"),
        DATA=str(fresh.folder / "empty"),
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("run: ")]
    assert "wanted images, such as -p images /data/photographs" in line


def test_the_printed_addresses_have_the_published_ports_and_nothing_follows(fresh: Compose) -> None:
    fresh.ok("up", "-d", "--no-build", "notebook", JUPYTER_TOKEN=None)
    fresh.ok(
        *("--profile", "notebook-cluster", "up", "-d", "--no-build", "notebook-cluster"),
        JUPYTER_TOKEN=None,
    )
    ports = {"notebook": "NOTEBOOK_PORT", "notebook-cluster": "NOTEBOOK_CLUSTER_PORT"}
    for service, port in ports.items():
        (container,) = fresh.containers(service)
        wait_for(lambda c=container: health(c) == "healthy")
        (line,) = say("docker", "logs", container).stdout.splitlines()
        assert line.startswith(f"JupyterLab: http://localhost:{fresh.ports[port]}/lab?token=")
        token = line.partition("token=")[2]
        # Another token is refused, and this one is accepted.
        code = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)"
        url = f"http://localhost:8888/api/contents?token={token}"
        assert say("docker", "exec", container, "python", "-c", code, url).stdout == "200\n"


def test_a_folder_that_user_1000_cannot_list_ends_the_run_with_its_name(
    compose: Compose, sample: str
) -> None:
    images = compose.data / "partly"
    shutil.copytree(compose.data / "sample" / "Training", images)
    closed = sorted(folder for folder in images.iterdir() if folder.is_dir())[1]
    closed.chmod(0o700)
    done = compose(
        *("run", "--rm", "--no-deps", "-T", "-e", "SPARK_MASTER=local[2]", "--entrypoint", "roles"),
        *("run", "fruits", "run", *RUN, "--images", "/data/partly", "--output", "/data/partly-out"),
    )
    assert done.returncode == 2, done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("fruits: ")]
    assert len(lines) == 1, done.stdout
    assert f"/data/partly/{closed.name} cannot be listed by user 1000" in lines[0]
    assert not list((compose.data / "partly-out").glob("features/*"))


# ---- Refused before anything starts


@pytest.mark.parametrize(
    ("changes", "service", "expected"),
    [
        ({"SPARK_SECRET": "tooshort"}, "check-cluster", "SPARK_SECRET: wanted 16 characters"),
        ({"SPARK_SECRET": ""}, "check-cluster", "SPARK_SECRET: wanted 16 characters"),
        ({"WORKER_MEMORY": "9000g"}, "check-cluster", "WORKER_MEMORY: wanted at most"),
        ({"WORKER_MEMORY": "1g"}, "check-cluster", "WORKER_MEMORY: wanted at least 1792m"),
        ({"JUPYTER_TOKEN": "short"}, "check", "JUPYTER_TOKEN: wanted 16 characters"),
        ({"DRIVER_MEMORY": "lots"}, "check", "DRIVER_MEMORY: wanted a size"),
    ],
)
def test_an_environment_that_cannot_work_is_refused_before_the_start(
    fresh: Compose, changes: dict[str, str], service: str, expected: str
) -> None:
    wanted = ["--profile", "cluster", "up", "-d", "--no-build", "--scale", "worker=2"]
    done = fresh(*wanted, **changes)
    assert done.returncode != 0
    assert f'service "{service}" didn\'t complete successfully: exit 2' in done.stdout
    for other in ("master", "worker") if service == "check-cluster" else ("notebook",):
        assert f"{fresh.project}-{other}-1  Started" not in done.stdout
        assert fresh.containers(other) == []
    (line,) = fresh.ok("--profile", "*", "logs", "--no-log-prefix", service).splitlines()
    assert expected in line


def test_a_refused_secret_can_be_replaced(fresh: Compose) -> None:
    up = ("--profile", "cluster", "up", "-d", "--no-build", "--force-recreate")
    assert fresh(*up, SPARK_SECRET="tooshort").returncode != 0
    fresh.ok(*up)
    assert fresh.containers("master")


# ---- A secret that differs from that of the cluster


def test_a_worker_with_another_secret_ends_with_one_line(cluster: Compose) -> None:
    start = time.monotonic()
    done = cluster("run", "--rm", "--no-deps", "-T", "worker", SPARK_SECRET="0" * 40, timeout=300)
    assert done.returncode == 2, done.stdout
    assert done.stdout.count("\n") == 1, done.stdout
    assert "worker: the master at spark://master:7077 refuses the secret" in done.stdout
    assert time.monotonic() - start < 120


def test_a_headless_run_with_another_secret_ends_with_one_line(cluster: Compose) -> None:
    done = cluster(
        *("run", "--rm", "--no-deps", "-T", "run", "-p", "images", "/data/sample/Training"),
        *("-p", "output", "/data/refused-run", "-p", "backbone", "EfficientNetLite0"),
        SPARK_SECRET="0" * 40,
        timeout=300,
    )
    assert done.returncode == 2, done.stdout
    assert "fruits: the master at spark://master:7077 refuses the secret" in done.stdout
    assert "at org.apache" not in done.stdout
    assert "Traceback" not in done.stdout


# ---- Permissions of containers


def test_every_service_is_limited(fresh: Compose) -> None:
    for name, service in configuration(fresh).items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert 0 < service["pids_limit"] <= 4096, name
        assert int(service["mem_limit"]) > 0, name
        # Compose copies a secret from a variable into the container.
        sources = {secret["source"] for secret in service.get("secrets", ())}
        assert service.get("read_only", False) is not bool(sources), name


def test_with_the_secret_in_a_file_every_service_is_read_only(fresh: Compose) -> None:
    services = configuration(fresh, *SECRET_FILE, SPARK_SECRET=None, SPARK_SECRET_FILE="/x")
    assert all(service["read_only"] for service in services.values())


def test_a_cluster_whose_secret_is_a_file_runs_read_only(fresh: Compose) -> None:
    secret = fresh.folder / "secret"
    secret.write_text(fresh.secret)
    secret.chmod(0o444)
    chosen: dict[str, str | None] = {"SPARK_SECRET": None, "SPARK_SECRET_FILE": str(secret)}
    fresh.ok(*SECRET_FILE, "--profile", "cluster", "up", "-d", "--no-build", **chosen)
    done = fresh(
        *(*SECRET_FILE, "run", "--rm", "-T", "--entrypoint", "roles", "run", "fruits", "run"),
        *(*RUN, "--images", "/data/sample/Training", "--limit", "60", "--output", "/data/out"),
        **chosen,
    )
    assert done.returncode == 0, done.stdout
    for container in left(fresh):
        form = "{{.HostConfig.ReadonlyRootfs}}"
        assert say("docker", "inspect", "-f", form, container).stdout.strip() == "true"


def test_only_the_intended_folders_are_writable(cluster: Compose) -> None:
    meant = {"/var/lib/spark", "/tmp", "/var/tmp", "/home/fruits", "/data", "/var/log/spark-events"}
    meant |= {"/var/cache/fruits", "/var/cache/keras", "/run/lock"}
    command = r"find / -xdev \( -type d -o -type f \) -writable -not -path '/proc/*' 2>/dev/null"
    for service in ("master", "worker"):
        (container, *_) = cluster.containers(service)
        found = say("docker", "exec", container, "bash", "-c", command).stdout.splitlines()
        assert [p for p in found if not any(f"{p}/".startswith(f"{m}/") for m in meant)] == []


def test_only_one_service_writes_into_each_cache_and_home(fresh: Compose) -> None:
    users: dict[str, list[str]] = {}
    for name, service in configuration(fresh).items():
        for volume in service.get("volumes", ()):
            if volume["target"] in ("/var/cache", "/home/fruits", "/var/lib/spark"):
                users.setdefault(volume["source"], []).append(name)
    assert {"notebook", "notebook-cluster", "run"} <= {n for names in users.values() for n in names}
    assert all(len(names) == 1 for names in users.values()), users


# ---- Settings in the .env file


def test_a_later_up_keeps_the_number_of_workers_of_the_env_file(fresh: Compose) -> None:
    assert configuration(fresh, WORKERS="3")["worker"]["scale"] == 3
    assert configuration(fresh)["worker"].get("scale", 1) == 1
