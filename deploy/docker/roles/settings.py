"""Reads and checks the environment of a container: Spark's settings, sizes, secrets."""

import os
import re
import shutil
import sys
from pathlib import Path

from support import fail, private, write

CONF = Path("/opt/fruits/conf")
EVENTS = Path("/var/log/spark-events")
SECRET = Path("/run/secrets/spark_secret")
SCRATCH = Path("/var/lib/spark")

CLUSTER_ROLES = ("master", "worker")
# The roles on Kubernetes, where addresses, sizes and the secret are set in another way.
POD_ROLES = ("driver", "executor")
LEAST_CHARACTERS = 16

# Megabytes of a worker's memory: its JVM; the minimum heap of an executor; the minimum of a Python
# worker, one for each core, with a compiled network.
DAEMON, LEAST_HEAP, LEAST_PYTHON = 512, 512, 512
# Share of the rest for the heap of the executor: images and networks are in the Python workers.
HEAP_SHARE = 0.4


def configure(role: str) -> None:
    """Writes Spark's configuration: the files in conf/, and the settings of the environment."""
    folder = private(Path(os.environ["SPARK_CONF_DIR"]))
    for name in ("log4j2.properties", "spark-env.sh"):
        shutil.copy(CONF / name, folder)
    write(
        folder / "spark-defaults.conf",
        (CONF / "spark-defaults.conf").read_text()
        + "\n# ---- Of this container\n"
        + "".join(f"{name:50} {value}\n" for name, value in additions(role).items()),
    )


def check() -> None:
    """Ends with one line if a container with this environment could not start its role.

    Compose runs it first, so that no other container starts if the settings are invalid.
    """
    token("check")
    if "DRIVER_MEMORY" in os.environ:
        driver_memory("check")
    if "WORKER_MEMORY" in os.environ:
        worker_memory("check")
        shared_secret("check")


def additions(role: str) -> dict[str, str]:
    """The settings that depend on the environment of this container."""
    settings = {}
    where = os.environ.get("SPARK_MASTER", "")
    in_cluster = role in CLUSTER_ROLES or where.startswith("spark://")
    if where and role not in ("master", "worker", "history"):
        settings["spark.master"] = where
    if in_cluster:
        settings["spark.authenticate.secret"] = shared_secret(role)
    if role in ("master", "run"):
        # The UI of a notebook is reached through JupyterLab, all others through that of the master.
        settings["spark.ui.reverseProxy"] = "true"
    if not in_cluster and role not in ("history", *POD_ROLES):
        # No other machine needs to reach the driver of a local run, or its UI.
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    if where.startswith("spark://") and role != "worker":
        memory, _ = worker_size(role)
        settings["spark.executor.memory"] = f"{executor_heap(memory)}m"
    if role == "driver":
        # Spark's default, from which it also computes the size of the pod.
        settings["spark.driver.memory"] = "1g"
    elif os.environ.get("DRIVER_MEMORY"):
        settings["spark.driver.memory"] = f"{driver_memory(role)}m"
    # The disk of a pod is deleted with the pod.
    if os.access(EVENTS, os.W_OK) and role not in POD_ROLES:
        settings["spark.eventLog.enabled"] = "true"
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        # boto reads the variable itself; Spark reads it only if it also gets keys.
        settings["spark.hadoop.fs.s3a.endpoint"] = endpoint
        # Other stores than Amazon S3 rarely have a host name for each bucket.
        settings["spark.hadoop.fs.s3a.path.style.access"] = "true"
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        settings["spark.hadoop.fs.s3a.endpoint.region"] = region
    return settings


# ---- Secrets


def shared_secret(role: str) -> str:
    """The secret of the cluster."""
    wanted = (
        f"SPARK_SECRET: wanted {LEAST_CHARACTERS} characters at least, without blanks, such as the "
        "output of 'openssl rand -hex 32'"
    )
    try:
        secret = SECRET.read_text().strip()
    except OSError as error:
        fail(role, f"{wanted}; got no {SECRET}: {error.strerror}")
    if not secret:
        fail(role, f"{wanted}; got none")
    if len(secret) < LEAST_CHARACTERS or not re.fullmatch(r"[!-~]+", secret):
        again = "; then: docker compose --profile cluster up -d --force-recreate"
        fail(role, f"{wanted}; got {len(secret)}{again if role == 'check' else ''}")
    return secret


def token(role: str) -> str | None:
    """JupyterLab's token, if one is given."""
    given = os.environ.get("JUPYTER_TOKEN")
    if given is not None and len(given) < LEAST_CHARACTERS:
        fail(
            role,
            f"JUPYTER_TOKEN: wanted {LEAST_CHARACTERS} characters at least, or no such variable; "
            f"got {len(given)}",
        )
    return given


# ---- Sizes


def driver_memory(role: str) -> int:
    """Megabytes of a driver's heap."""
    text = os.environ["DRIVER_MEMORY"]
    wanted, available = megabytes("DRIVER_MEMORY", text), available_megabytes()
    if role in ("notebook", "run", "check") and wanted > available:
        fail(
            role,
            f"DRIVER_MEMORY: wanted at most the {available} MB that this machine has left; "
            f"got {text}",
        )
    return wanted


def worker_memory(role: str) -> tuple[int, int]:
    """Megabytes and cores of one worker, on this machine."""
    memory, cores = worker_size(role)
    available = available_megabytes()
    if memory > available:
        fail(
            role,
            f"WORKER_MEMORY: wanted at most the {available} MB that this machine has left; "
            f"got {memory} MB",
        )
    return memory, cores


def worker_size(role: str) -> tuple[int, int]:
    """Megabytes and cores of one worker."""
    memory = megabytes("WORKER_MEMORY", os.environ.get("WORKER_MEMORY") or "4g")
    text = os.environ.get("WORKER_CORES") or "2"
    if not text.isdigit() or int(text) < 1:
        fail(role, f"WORKER_CORES: wanted a whole number from 1; got {text!r}")
    cores = int(text)
    least = DAEMON + max(LEAST_HEAP + LEAST_PYTHON * cores, int(LEAST_HEAP / HEAP_SHARE))
    if memory < least:
        fail(role, f"WORKER_MEMORY: wanted at least {least}m for {cores} cores; got {memory}m")
    return memory, cores


def executor_heap(memory: int) -> int:
    """Megabytes of an executor's heap in a worker with this memory."""
    return int((memory - DAEMON) * HEAP_SHARE)


def megabytes(name: str, text: str) -> int:
    """Converts ``4g`` or ``512m`` to megabytes."""
    match = re.fullmatch(r"([1-9][0-9]*)([mMgG])[bB]?", text.strip())
    if not match:
        fail("sizes", f"{name}: wanted a size such as 4g or 3000m; got {text!r}")
    return int(match[1]) * (1024 if match[2] in "gG" else 1)


def available_megabytes() -> int:
    """The memory that is still available on this machine."""
    match = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(match[1]) // 1024 if match else sys.maxsize
