"""The image's entrypoint: ``roles ROLE [ARGUMENT...]``.

    notebook   JupyterLab (the default)
    run        the notebook, headless, with papermill: -p NAME VALUE ...
    master, worker, history   the parts of a Spark cluster
    driver, executor   the pods that Spark creates on Kubernetes
    decommission   hands over the work of an executor before its pod is stopped
    bucket     creates the bucket of an S3 store: NAME
    check      checks the secrets and the sizes of this environment
    healthy    whether the service of this container responds
    anything else is run as a command, with the configuration of Spark

Adds the settings that depend on the environment to conf/spark-defaults.conf; see docs/docker.md for
the variables. Invalid settings end a role with status 2 and one line.
"""

import contextlib
import http.client
import json
import os
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

import pods
import settings
from cluster import executors, require_cluster, require_secret
from support import fail, fetch, private, write

NOTEBOOK = Path("/opt/fruits/notebooks/fruits_pca.ipynb")
SPARK_CLASS = f"{os.environ.get('SPARK_HOME')}/bin/spark-class"
HOME = Path("/home/fruits")
EXECUTED = HOME / "notebooks/runs"
RECOVERY = Path("/var/lib/spark/recovery")
DATA = Path("/data")
MEMORY_ONLY = Path("/dev/shm")
ROLE = MEMORY_ONLY / "role"

# The user of the image, who owns its folders and new volumes.
USER = 1000

UI_PORTS = {"notebook": 8888, "master": 8080, "worker": 8081, "history": 18080}

# Seconds that a stopped worker gives its executors.
DECOMMISSION_TIMEOUT = 90


def main(arguments: Sequence[str]) -> None:
    """Runs the role that the first argument names."""
    role, *rest = arguments or ["notebook"]
    if role == "healthy":
        sys.exit(0 if healthy() else 1)
    known = {
        "notebook": notebook,
        "run": run,
        "master": master,
        "worker": worker,
        "history": history,
        "driver": driver,
        "executor": executor,
        "bucket": bucket,
        "check": check,
    }
    if role == "decommission":
        # The configuration of the executor is not changed.
        pods.decommission()
        return
    if role in known and os.geteuid() == 0:
        fail(role, "refuses to run as root; leave out --user")
    given = pods.own_configuration() if role in settings.POD_ROLES else None
    settings.configure(role)
    pods.add_configuration(given)
    if role in known:
        ROLE.write_text(role)
        known[role](rest)
    try:
        os.execvp(role, [role, *rest])
    except OSError as error:
        fail(role, f"is neither a role ({', '.join(known)}) nor a command: {error.strerror}")


# ---- Roles


def notebook(arguments: Sequence[str]) -> None:
    """Starts JupyterLab with the given token, or with a generated one that is printed once."""
    given = settings.token("notebook")
    os.environ.pop("JUPYTER_TOKEN", None)
    token = given or secrets.token_hex(24)
    # In a file, because notebooks inherit the environment, and all users see command lines.
    folder = private(MEMORY_ONLY / "jupyter")
    write(folder / "jupyter_server_config.json", json.dumps({"IdentityProvider": {"token": token}}))
    os.environ["JUPYTER_CONFIG_PATH"] = str(folder)
    # Only this container uses its scratch space: remove the files of a killed session.
    shutil.rmtree(settings.SCRATCH / "local", ignore_errors=True)
    address = f"http://localhost:{os.environ.get('NOTEBOOK_PORT') or 8888}/lab"
    if given is None:
        print(f"JupyterLab: {address}?token={token}", flush=True)
    else:
        print(f"JupyterLab: {address} (its token is the value of JUPYTER_TOKEN)", flush=True)
    os.execvp("jupyter", ["jupyter", "lab", "--log-level=WARN", *arguments])


def run(arguments: Sequence[str]) -> NoReturn:
    """Runs the notebook with papermill; prints its error in one line, and keeps the notebook."""
    require_images(arguments)
    require_cluster("run")
    require_writable("run", EXECUTED)
    if not (HOME / "data").exists():
        # The home folder is in memory. The default paths of the notebook begin with "data".
        (HOME / "data").symlink_to(DATA)
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
        # papermill repeats the traceback of the failed cell, which is in the executed notebook.
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
        fixable = is_user_error(name)
        print(f"fruits: {value}" if fixable else f"run: {name}: {value}", file=sys.stderr)
        sys.exit(2 if fixable else 1)
    print(f"run: {last}", file=sys.stderr)
    sys.exit(status if status > 0 else 128 - status)


def master(arguments: Sequence[str]) -> None:
    """Starts Spark's master, whose UI gives access to those of workers and applications."""
    require_writable("master", RECOVERY)
    spark_class("deploy.master.Master", "--host", socket.gethostname(), *arguments)


def worker(arguments: Sequence[str]) -> NoReturn:
    """Starts Spark's worker; when it is stopped, its executors first hand over their blocks."""
    memory, cores = settings.worker_memory("worker")
    where = os.environ.get("SPARK_MASTER", "spark://master:7077")
    require_secret("worker", where)
    process = subprocess.Popen(
        [
            *(SPARK_CLASS, "org.apache.spark.deploy.worker.Worker"),
            *("--cores", str(cores), "--memory", f"{settings.executor_heap(memory)}M"),
            *("--work-dir", "/var/lib/spark/work", "--webui-port", "8081", where, *arguments),
        ]
    )

    def hand_over(number: int, frame: object) -> None:
        process.send_signal(signal.SIGPWR)
        deadline = time.monotonic() + DECOMMISSION_TIMEOUT
        time.sleep(2)
        while time.monotonic() < deadline and process.poll() is None and executors():
            time.sleep(0.5)
        process.terminate()

    signal.signal(signal.SIGTERM, hand_over)
    forward(signal.SIGINT, process)
    status = process.wait()
    sys.exit(status if status >= 0 else 128 - status)


def history(arguments: Sequence[str]) -> None:
    """Starts Spark's history server."""
    spark_class("deploy.history.HistoryServer", *arguments)


def driver(arguments: Sequence[str]) -> None:
    """Starts the driver of an application that was submitted to Kubernetes."""
    pods.require_user("driver")
    command = pods.driver_command(list(arguments), os.environ)
    os.execvp(command[0], command)


def executor(arguments: Sequence[str]) -> None:
    """Starts an executor of an application on Kubernetes."""
    pods.require_user("executor")
    command = pods.executor_command(os.environ)
    os.execvp(command[0], [*command, *arguments])


def bucket(arguments: Sequence[str]) -> NoReturn:
    """Creates a bucket, as soon as the store responds."""
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


def check(arguments: Sequence[str]) -> NoReturn:
    """Checks the environment; exits with one line if it is invalid."""
    settings.check()
    sys.exit(0)


def healthy() -> bool:
    """Whether the service of this container responds; always true for a command."""
    role = ROLE.read_text() if ROLE.exists() else ""
    if role not in UI_PORTS:
        return True
    with contextlib.suppress(OSError, http.client.HTTPException):
        # JupyterLab refuses a request without a token, but it responds.
        return fetch("127.0.0.1", UI_PORTS[role], "/")[0] < 500
    return False


# ---- Helpers


def require_images(arguments: Sequence[str]) -> None:
    """Exits with one line if no images are given and the default ones do not exist."""
    sample = DATA / "sample"
    if (
        "images" not in arguments
        and not set(arguments) & {"-f", "-y", "-b"}
        and not sample.is_dir()
    ):
        fail(
            "run",
            f"wanted images, such as -p images /data/photographs; got none, and no {sample} "
            "(which is drawn by: fruits sample --output /data/sample)",
        )


def require_writable(role: str, folder: Path) -> None:
    """Makes a folder of a volume; exits with one line if this user cannot write to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "permission denied"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        user = os.geteuid()
        other = "leave out --user" if user != USER else f"give the volume to user {USER}"
        fail(role, f"user {user} cannot write to {folder}: {reason}; {other}")


def spark_class(name: str, *arguments: str) -> None:
    """Replaces this process by one of Spark's daemons."""
    os.environ.setdefault("SPARK_DAEMON_MEMORY", f"{settings.DAEMON}m")
    os.execv(SPARK_CLASS, [SPARK_CLASS, f"org.apache.spark.{name}", *arguments])


def raised(notebook: Path) -> tuple[str, str]:
    """Name and message of the error in an executed notebook."""
    with contextlib.suppress(OSError, ValueError):
        for cell in json.loads(notebook.read_text())["cells"]:
            for output in cell.get("outputs", ()):
                if output["output_type"] == "error":
                    return output["ename"], output["evalue"]
    return "", ""


def is_user_error(name: str) -> bool:
    """Whether an error is one that the user can fix."""
    import fruits.errors

    found = getattr(fruits.errors, name, None)
    return isinstance(found, type) and issubclass(found, fruits.errors.FruitsError)


def forward(number: signal.Signals, process: "subprocess.Popen[Any]") -> None:
    """Passes a signal on to a child."""
    signal.signal(number, lambda *_: process.send_signal(number))


if __name__ == "__main__":
    main(sys.argv[1:])
