"""Runs docker-compose.yml of this tree."""

import json
import os
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import s3fs
from ports import free_port

ROOT = Path(__file__).parent.parent.parent

# Small chunks, so that a run can be interrupted between its first and its last commit.
RUN = ("--backbone", "EfficientNetLite0", "--chunk", "40", "--components", "20")


def table(folder: Path, column: str) -> pa.Table:
    """A table of results, sorted by path."""
    rows = pq.read_table(folder)
    assert rows.num_rows, folder
    return rows.select(["path", "label", column]).sort_by("path").combine_chunks()


def results(folder: Path) -> tuple[pa.Table, pa.Table]:
    return table(folder / "features", "features"), table(folder / "pca", "pca")


def assert_same_bits(folder: Path, other: Path) -> None:
    """Checks that features and components of two outputs are equal."""
    for there, here in zip(results(folder), results(other), strict=True):
        assert there.equals(here)


def say(*command: str, timeout: float = 600, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command; stdout and stderr are combined."""
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


def fetch(url: str, timeout: float = 10) -> tuple[int, str]:
    """The status and the text of a page; redirects are not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args: Any, **kwargs: Any) -> None:
            return None

    try:
        with urllib.request.build_opener(Stay).open(url, timeout=timeout) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(what: Any, seconds: float = 120, every: float = 0.5) -> Any:
    """Calls a function repeatedly until it returns a true value; returns this value."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := what():
                return answer
        except (OSError, ValueError):
            pass
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(every)


@dataclass
class Compose:
    """docker-compose.yml with a project name, and with its own ports and volumes."""

    folder: Path
    project: str = "fruits-test"
    secret: str = field(default_factory=lambda: secrets.token_hex(24))
    key: str = "fruits-test"
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20))
    token: str = field(default_factory=lambda: secrets.token_hex(20))
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ("NOTEBOOK_PORT", "NOTEBOOK_CLUSTER_PORT", "MASTER_UI_PORT", "HISTORY_PORT")
        self.ports = {name: free_port() for name in (*names, "S3_PORT")}
        self.data = self.folder / "data"
        self.data.mkdir()
        self.data.chmod(0o777)
        self.variables |= {
            "COMPOSE_PROJECT_NAME": self.project,
            "SPARK_SECRET": self.secret,
            "JUPYTER_TOKEN": self.token,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": "http://s3:8333",
            "WORKER_CORES": "1",
            "WORKER_MEMORY": "3g",
            "DRIVER_MEMORY": "1500m",
            "DATA": str(self.data),
            **{name: str(port) for name, port in self.ports.items()},
        }

    def __call__(
        self, *arguments: str, timeout: float = 900, **changes: str | None
    ) -> subprocess.CompletedProcess[str]:
        """``docker compose ...`` with the variables of a .env file; None removes a variable."""
        clean = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "SPARK_"))}
        environment = clean | self.variables | changes
        return say(
            *("docker", "compose", "--env-file", "/dev/null", "--project-directory", str(ROOT)),
            *arguments,
            timeout=timeout,
            env={name: value for name, value in environment.items() if value is not None},
            cwd=ROOT,
        )

    def ok(self, *arguments: str, **options: Any) -> str:
        done = self(*arguments, **options)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def fruits(self, *arguments: str, service: str = "run", master: str | None = None) -> str:
        """Runs ``fruits`` in a new container."""
        chosen = ["-e", f"SPARK_MASTER={master}"] if master else []
        return self.ok(
            *("run", "--rm", "--no-deps", "-T", "--entrypoint", "roles", *chosen, service),
            *("fruits", *arguments),
        )

    def containers(self, service: str) -> list[str]:
        """The ids of the running containers of a service."""
        return self.ok("--profile", "*", "ps", "-q", service).split()

    def workers(self, count: int) -> None:
        """Sets the number of workers, and waits until they are registered with the master."""
        self.ok("--profile", "cluster", "up", "-d", "--no-build", "--scale", f"worker={count}")
        wait_for(lambda: self.alive() == count, 180)

    def alive(self) -> int:
        state = json.loads(fetch(f"http://127.0.0.1:{self.ports['MASTER_UI_PORT']}/json/")[1])
        return sum(worker["state"] == "ALIVE" for worker in state["workers"])

    def store(self) -> Any:
        """A boto3 client for the store, outside of the containers."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.ports['S3_PORT']}",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )

    def store_files(self) -> s3fs.S3FileSystem:
        """The store as a file system."""
        return s3fs.S3FileSystem(
            key=self.key,
            secret=self.secret_key,
            endpoint_url=f"http://127.0.0.1:{self.ports['S3_PORT']}",
            client_kwargs={"region_name": "us-east-1"},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def fill_store(self, prefix: str = "") -> None:
        """Waits for the bucket, and uploads the sample to it."""
        bucket = self.ok("--profile", "s3", "ps", "-aq", "bucket").strip()
        done = say("docker", "wait", bucket).stdout.strip()
        assert done == "0", say("docker", "logs", bucket).stdout
        client, root = self.store(), self.data / "sample"

        def put(file: Path) -> None:
            key = f"{prefix}{file.relative_to(root)}"
            client.put_object(Bucket="fruits", Key=key, Body=file.read_bytes())

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(put, root.rglob("*.jpg")))
