#!/opt/fruits/bin/python
"""The image's entrypoint: ``roles ROLE [ARGUMENT...]``.

    notebook   JupyterLab (the default)
    run        the notebook from top to bottom, by papermill: -p NAME VALUE ...
    master, worker, history   the parts of a Spark cluster
    bucket     makes the bucket of an S3 store: NAME
    healthy    whether the container's role answers
    anything else is a command, which finds Spark configured

What only the environment knows is added to conf/spark-defaults.conf here; docs/docker.md tells the
variables. What cannot work ends with status 2 and one line.
"""

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

HOME = Path("/opt/fruits")
CONF = HOME / "conf"
SPARK_CLASS = f"{os.environ.get('SPARK_HOME')}/bin/spark-class"
NOTEBOOK = HOME / "notebooks/fruits_pca.ipynb"
EXECUTED = Path("/home/fruits/notebooks/runs")
EVENTS = Path("/var/log/spark-events")
SECRET = Path("/run/secrets/spark_secret")
MEMORY_ONLY = Path("/dev/shm")
ROLE = MEMORY_ONLY / "role"

UI_PORTS = {"notebook": 8888, "master": 8080, "worker": 8081, "history": 18080}
CLUSTER_ROLES = ("master", "worker")

# Megabytes of a worker's memory: its own JVM; the least heap of an executor; the least that a
# Python worker, one for each core, needs with a compiled network in it.
DAEMON, LEAST_HEAP, LEAST_PYTHON = 512, 512, 512
# Share of the rest that is the executor's heap: pictures and networks live in the Python workers.
HEAP_SHARE = 0.4

# Seconds that a worker which is told to stop gives its executors.
HAND_OVER = 90
# Seconds in which a cluster that is starting must be there.
PATIENCE = 60


def main(arguments: Sequence[str]) -> None:
    """Becomes what the first argument says."""
    role, *rest = arguments or ["notebook"]
    if role == "healthy":
        sys.exit(0 if healthy() else 1)
    known = {
        "notebook": notebook,
        "run": run,
        "master": master,
        "worker": worker,
        "history": history,
        "bucket": bucket,
    }
    if role in known and os.geteuid() == 0:
        fail(role, "refuses to run as root; leave out --user, or give another user")
    configure(role)
    if role in known:
        ROLE.write_text(role)
        known[role](rest)
    try:
        os.execvp(role, [role, *rest])
    except OSError as error:
        fail(role, f"is neither a role ({', '.join(known)}) nor a command: {error.strerror}")


# ---- Roles


def notebook(arguments: Sequence[str]) -> None:
    """JupyterLab, with a token that is given, or made up and printed once."""
    given = os.environ.pop("JUPYTER_TOKEN", None)
    if given is not None and len(given) < 16:
        fail("notebook", f"JUPYTER_TOKEN: wanted 16 characters at least; got {len(given)}")
    token = given or secrets.token_hex(24)
    # By a file: the environment is inherited by every notebook, and a command line is seen by all.
    folder = private(MEMORY_ONLY / "jupyter")
    write(folder / "jupyter_server_config.json", json.dumps({"IdentityProvider": {"token": token}}))
    os.environ["JUPYTER_CONFIG_PATH"] = str(folder)
    if given is None:
        print(f"JupyterLab: http://localhost:8888/lab?token={token}", flush=True)
    os.execvp("jupyter", ["jupyter", "lab", "--log-level=WARN", *arguments])


def run(arguments: Sequence[str]) -> NoReturn:
    """The notebook by papermill; what it raised is one line, and the notebook is kept."""
    require_cluster("run")
    EXECUTED.mkdir(parents=True, exist_ok=True)
    when = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    executed = EXECUTED / f"fruits_pca-{when}.ipynb"
    print(f"run: the executed notebook is {executed}", flush=True)
    command = ["papermill", "--cwd", "/home/fruits", "--log-output", "--no-progress-bar"]
    process = subprocess.Popen(
        [*command, str(NOTEBOOK), str(executed), *arguments], stderr=subprocess.PIPE, text=True
    )
    forward(signal.SIGTERM, process)
    forward(signal.SIGINT, process)
    last = ""
    quiet = False
    for line in process.stderr or ():
        # papermill repeats the failed cell's traceback, which the executed notebook holds.
        quiet = quiet or line.startswith(("Traceback (most recent call last)", "Usage: "))
        if line.strip():
            last = line.strip()
        if not quiet:
            sys.stderr.write(line)
            sys.stderr.flush()
    status = process.wait()
    if status == 0:
        sys.exit(0)
    name, value = raised(executed)
    if name:
        print(f"fruits: {value}" if is_mendable(name) else f"run: {name}: {value}", file=sys.stderr)
        sys.exit(2 if is_mendable(name) else 1)
    print(f"run: {last}", file=sys.stderr)
    sys.exit(status if status > 0 else 128 - status)


def master(arguments: Sequence[str]) -> None:
    """Spark's master, through whose UI those of workers and applications are reached."""
    Path("/var/lib/spark/recovery").mkdir(exist_ok=True)
    spark_class("deploy.master.Master", "--host", socket.gethostname(), *arguments)


def worker(arguments: Sequence[str]) -> NoReturn:
    """Spark's worker; told to stop, it first has its executors hand over what they hold."""
    memory, cores = worker_size()
    available = available_megabytes()
    if memory > available:
        fail(
            "worker",
            f"WORKER_MEMORY: wanted at most the {available} MB that this machine has left; "
            f"got {memory} MB",
        )
    where = os.environ.get("SPARK_MASTER", "spark://master:7077")
    process = subprocess.Popen(
        [
            *(SPARK_CLASS, "org.apache.spark.deploy.worker.Worker"),
            *("--cores", str(cores), "--memory", f"{executor_heap(memory)}M"),
            *("--work-dir", "/var/lib/spark/work", "--webui-port", "8081", where, *arguments),
        ]
    )

    def hand_over(number: int, frame: object) -> None:
        process.send_signal(signal.SIGPWR)
        deadline = time.monotonic() + HAND_OVER
        time.sleep(2)
        while time.monotonic() < deadline and process.poll() is None and executors():
            time.sleep(0.5)
        process.terminate()

    signal.signal(signal.SIGTERM, hand_over)
    forward(signal.SIGINT, process)
    status = process.wait()
    sys.exit(status if status >= 0 else 128 - status)


def history(arguments: Sequence[str]) -> None:
    """Spark's history server."""
    spark_class("deploy.history.HistoryServer", *arguments)


def bucket(arguments: Sequence[str]) -> NoReturn:
    """Makes a bucket, once its store answers."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    if len(arguments) != 1:
        fail("bucket", "wanted the name of one bucket")
    config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
    error: Exception | None = None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            store = boto3.client("s3", config=config)
            names = [there["Name"] for there in store.list_buckets()["Buckets"]]
            if arguments[0] not in names:
                store.create_bucket(Bucket=arguments[0])
            print(f"bucket: {arguments[0]} is there")
            sys.exit(0)
        except (BotoCoreError, ClientError) as raised_now:
            error = raised_now
            refused = isinstance(error, ClientError)
            if refused and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                break
            time.sleep(1)
    fail("bucket", f"{arguments[0]} cannot be made: {error}")


def healthy() -> bool:
    """Whether what this container is for answers; a command has nothing to answer."""
    role = ROLE.read_text() if ROLE.exists() else ""
    if role not in UI_PORTS:
        return True
    with contextlib.suppress(OSError, http.client.HTTPException):
        # JupyterLab refuses who has no token, but it answers.
        return fetch("127.0.0.1", UI_PORTS[role], "/")[0] < 500
    return False


# ---- Configuration


def configure(role: str) -> None:
    """Writes the configuration: conf/ and below it what the environment says."""
    folder = private(Path(os.environ["SPARK_CONF_DIR"]))
    for name in ("log4j2.properties", "spark-env.sh"):
        shutil.copy(CONF / name, folder)
    write(
        folder / "spark-defaults.conf",
        (CONF / "spark-defaults.conf").read_text()
        + "\n# ---- Of this container\n"
        + "".join(f"{name:50} {value}\n" for name, value in additions(role).items()),
    )


def additions(role: str) -> dict[str, str]:
    """The settings that depend on where this container runs."""
    settings = {}
    where = os.environ.get("SPARK_MASTER", "")
    in_cluster = role in CLUSTER_ROLES or where.startswith("spark://")
    if where and role not in ("master", "worker", "history"):
        settings["spark.master"] = where
    if in_cluster:
        settings["spark.authenticate.secret"] = shared_secret(role)
    if role in ("master", "run"):
        # A notebook's own UI is reached through JupyterLab, all others through the master's.
        settings["spark.ui.reverseProxy"] = "true"
    if not in_cluster and role != "history":
        # Nobody else has to reach the driver of a local run, nor its UI.
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    if where.startswith("spark://") and role != "worker":
        memory, _ = worker_size()
        settings["spark.executor.memory"] = f"{executor_heap(memory)}m"
    if heap := os.environ.get("DRIVER_MEMORY"):
        wanted, available = megabytes("DRIVER_MEMORY", heap), available_megabytes()
        if role in ("notebook", "run") and wanted > available:
            fail(
                role,
                f"DRIVER_MEMORY: wanted at most the {available} MB that this machine has left; "
                f"got {heap}",
            )
        settings["spark.driver.memory"] = f"{wanted}m"
    if os.access(EVENTS, os.W_OK):
        settings["spark.eventLog.enabled"] = "true"
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        # boto reads the variable itself; Spark does so only where there are keys beside it.
        settings["spark.hadoop.fs.s3a.endpoint"] = endpoint
        # Stores other than Amazon's seldom have a name for each bucket.
        settings["spark.hadoop.fs.s3a.path.style.access"] = "true"
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        settings["spark.hadoop.fs.s3a.endpoint.region"] = region
    return settings


def shared_secret(role: str) -> str:
    """The secret of the cluster."""
    try:
        secret = SECRET.read_text().strip()
    except OSError as error:
        fail(role, f"wanted the cluster's secret in {SECRET} (SPARK_SECRET): {error.strerror}")
    if len(secret) < 16 or not re.fullmatch(r"[!-~]+", secret):
        fail(
            role,
            "SPARK_SECRET: wanted 16 characters at least, without blanks, such as the output of "
            f"'openssl rand -hex 32'; got {len(secret)}",
        )
    return secret


def worker_size() -> tuple[int, int]:
    """Megabytes and cores of one worker."""
    memory = megabytes("WORKER_MEMORY", os.environ.get("WORKER_MEMORY") or "4g")
    text = os.environ.get("WORKER_CORES") or "2"
    if not text.isdigit() or int(text) < 1:
        fail("worker", f"WORKER_CORES: wanted a whole number from 1; got {text!r}")
    cores = int(text)
    least = DAEMON + max(LEAST_HEAP + LEAST_PYTHON * cores, int(LEAST_HEAP / HEAP_SHARE))
    if memory < least:
        fail("worker", f"WORKER_MEMORY: wanted {least}m at least for {cores} cores; got {memory}m")
    return memory, cores


def executor_heap(memory: int) -> int:
    """Megabytes of an executor's heap in a worker of so many."""
    return int((memory - DAEMON) * HEAP_SHARE)


def megabytes(name: str, text: str) -> int:
    """What ``4g`` or ``512m`` says."""
    match = re.fullmatch(r"([1-9][0-9]*)([mMgG])[bB]?", text.strip())
    if not match:
        fail("sizes", f"{name}: wanted a size such as 4g or 3000m; got {text!r}")
    return int(match[1]) * (1024 if match[2] in "gG" else 1)


def available_megabytes() -> int:
    """Memory that could still be had on this machine."""
    match = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(match[1]) // 1024 if match else sys.maxsize


# ---- The cluster


def require_cluster(role: str) -> None:
    """Ends with one line unless a worker can take this container's executor."""
    where = os.environ.get("SPARK_MASTER", "")
    if not where.startswith("spark://"):
        return
    host, memory = urlsplit(where).hostname or "", executor_heap(worker_size()[0])
    deadline = time.monotonic() + PATIENCE
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
                    print(f"{role}: waits for the cluster, which is held by: {names}", flush=True)
                return
            offers = ", ".join(f"{w['memory']} MB" for w in alive) or "there are none"
            problem = (
                f"no worker of {where} can take an executor of {memory} MB (workers: {offers}); "
                "give all containers the same WORKER_MEMORY and start a worker"
            )
        time.sleep(1)
    fail(role, problem)


def executors() -> bool:
    """Whether an executor runs in this container."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"CoarseGrainedExecutorBackend" in process.read_bytes():
                return True
    return False


def fetch(host: str, port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a page."""
    connection = http.client.HTTPConnection(host, port, timeout=4)
    try:
        connection.request("GET", path, headers={"Host": f"localhost:{port}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


# ---- Small things


def spark_class(name: str, *arguments: str) -> None:
    """Becomes one of Spark's daemons."""
    os.environ.setdefault("SPARK_DAEMON_MEMORY", f"{DAEMON}m")
    os.execv(SPARK_CLASS, [SPARK_CLASS, f"org.apache.spark.{name}", *arguments])


def raised(notebook: Path) -> tuple[str, str]:
    """Name and message of the error in an executed notebook."""
    with contextlib.suppress(OSError, ValueError):
        for cell in json.loads(notebook.read_text())["cells"]:
            for output in cell.get("outputs", ()):
                if output["output_type"] == "error":
                    return output["ename"], output["evalue"]
    return "", ""


def is_mendable(name: str) -> bool:
    """Whether an error is one that the caller can mend."""
    import fruits.errors
    import fruits.storage

    found = getattr(fruits.errors, name, None) or getattr(fruits.storage, name, None)
    return isinstance(found, type) and issubclass(found, fruits.errors.FruitsError)


def forward(number: signal.Signals, process: "subprocess.Popen[Any]") -> None:
    """Passes a signal on to a child."""
    signal.signal(number, lambda *_: process.send_signal(number))


def private(folder: Path) -> Path:
    """A folder that only this user can look into."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def write(path: Path, text: str) -> None:
    """Writes a file that only this user can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def fail(role: str, message: str) -> NoReturn:
    """Ends with one line."""
    print(f"{role}: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
