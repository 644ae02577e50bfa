"""Checks of the cluster: it is reachable, it has free resources, and it accepts the secret."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from settings import executor_heap, worker_size
from support import fail, fetch

# Maximum seconds for the start of a cluster: its workers ask the master before they register.
START = 120
# Maximum seconds for Java to ask a master whether it accepts the secret.
REQUEST_TIMEOUT = 120


def require_cluster(role: str) -> None:
    """Exits with one line unless a worker can run the executor of this container."""
    where = os.environ.get("SPARK_MASTER", "")
    if not where.startswith("spark://"):
        return
    host, memory = urlsplit(where).hostname or "", executor_heap(worker_size(role)[0])
    deadline = time.monotonic() + START
    problem = ""
    while time.monotonic() < deadline:
        try:
            cluster = json.loads(fetch(host, 8080, "/json/")[1])
        except socket.gaierror:
            fail(role, f"there is no master at {where}; start the cluster first")
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = f"no master answers at {where} ({error})"
        else:
            alive = [w for w in cluster["workers"] if w["state"] == "ALIVE"]
            if any(w["memory"] >= memory for w in alive):
                if not any(w["memoryfree"] >= memory and w["coresfree"] for w in alive):
                    names = ", ".join(app["name"] for app in cluster["activeapps"])
                    print(f"{role}: waits for the cluster, which is used by: {names}", flush=True)
                return
            offers = ", ".join(f"{w['memory']} MB" for w in alive) or "there are none"
            problem = (
                f"no worker of {where} can take an executor of {memory} MB (workers: {offers}); "
                "give all containers the same WORKER_MEMORY and start a worker"
            )
        time.sleep(1)
    fail(role, problem)


def require_secret(role: str, where: str) -> None:
    """Exits with one line if the master refuses the secret of this container.

    A master that does not respond is not an error here: Spark's worker retries.
    """
    address = urlsplit(where)
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address.hostname or "", address.port or 7077), 4).close()
            break
        except OSError:
            time.sleep(1)
    try:
        asked = subprocess.run(
            [sys.executable, "-m", "fruits.spark.cluster", where],
            capture_output=True,
            text=True,
            timeout=REQUEST_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        # The machine is too busy to find out; Spark's worker will.
        return
    if asked.returncode == 2:
        fail(role, asked.stderr.strip().splitlines()[-1])


def executors() -> bool:
    """Whether an executor runs in this container."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"CoarseGrainedExecutorBackend" in process.read_bytes():
                return True
    return False
