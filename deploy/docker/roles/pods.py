"""The roles of pods that Spark creates on Kubernetes: ``driver`` and ``executor``.

Spark passes one of these words as the first argument and all other settings as variables, in the
same way as to Spark's official image. ``decommission`` runs before a pod is stopped: the executor
accepts no more tasks, finishes its running tasks and hands over its blocks.
"""

import contextlib
import os
import pwd
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from support import fail

# The folder in memory for Spark's configuration in the pod of the driver, as in other containers.
CONF = Path("/dev/shm/spark")
PASSWD = Path("/etc/passwd")
BACKEND = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
# Options of an executor, by the variable that Spark sets.
OPTIONS = {
    "--driver-url": "SPARK_DRIVER_URL",
    "--executor-id": "SPARK_EXECUTOR_ID",
    "--cores": "SPARK_EXECUTOR_CORES",
    "--app-id": "SPARK_APPLICATION_ID",
    "--hostname": "SPARK_EXECUTOR_POD_IP",
    "--resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
    "--podName": "SPARK_EXECUTOR_POD_NAME",
}
# Files that only the submitting machine needs, or that are not read.
NOT_COPIED = ("spark.properties", "spark-defaults.conf", "spark-env.sh")
# Maximum seconds for an executor to hand over; the grace period of the pod may be shorter.
DECOMMISSION_TIMEOUT = 90


def own_configuration() -> Path | None:
    """Moves Spark's configuration to a writable folder; returns the read-only folder of the pod.

    Spark mounts the properties of the application, and files from the submitting machine, as the
    configuration folder of the pod.
    """
    given = os.environ.get("SPARK_CONF_DIR")
    os.environ["SPARK_CONF_DIR"] = str(CONF)
    return Path(given) if given and given != str(CONF) else None


def add_configuration(given: Path | None) -> None:
    """Copies files of the application, such as core-site.xml or log4j2.properties."""
    if given is None or not given.is_dir():
        return
    for file in sorted(given.iterdir()):
        if file.is_file() and file.name not in NOT_COPIED:
            shutil.copy(file, CONF)


def require_user(role: str) -> None:
    """Gives this user a name, which Hadoop requires.

    Platforms such as OpenShift choose a user by its number and leave it in the group 0.
    """
    user = os.getuid()
    with contextlib.suppress(KeyError):
        pwd.getpwuid(user)
        return
    try:
        with PASSWD.open("a") as file:
            file.write(f"fruits-{user}:x:{user}:{os.getgid()}:fruits:/tmp:/bin/false\n")
    except OSError as error:
        fail(
            role,
            f"user: wanted one that {PASSWD} names; got {user}, and {error.strerror} to add it: "
            "set runAsUser: 1000; or runAsGroup: 0 and a root file system that can be written",
        )


def driver_command(arguments: list[str], environment: Mapping[str, str]) -> list[str]:
    """The command that starts the driver of an application in its pod."""
    address = required("driver", environment, "SPARK_DRIVER_BIND_ADDRESS")
    return [
        f"{environment['SPARK_HOME']}/bin/spark-submit",
        *("--conf", f"spark.driver.bindAddress={address}"),
        *("--deploy-mode", "client"),
        # Properties of the application take precedence over those of the image.
        *(["--load-spark-defaults"] if "--properties-file" in arguments else []),
        *arguments,
    ]


def executor_command(environment: Mapping[str, str]) -> list[str]:
    """The command that starts an executor in its pod."""
    memory = required("executor", environment, "SPARK_EXECUTOR_MEMORY")
    java = f"{environment['JAVA_HOME']}/bin/java" if environment.get("JAVA_HOME") else "java"
    return [
        java,
        *java_options(environment),
        f"-Xms{memory}",
        f"-Xmx{memory}",
        *("-cp", classpath(environment)),
        BACKEND,
        *(
            word
            for option, name in OPTIONS.items()
            for word in (option, required("executor", environment, name))
        ),
    ]


def java_options(environment: Mapping[str, str]) -> list[str]:
    """The values of SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1 and so on, in this order."""
    prefix = "SPARK_JAVA_OPT_"
    numbers = [name.removeprefix(prefix) for name in environment if name.startswith(prefix)]
    ordered = sorted((number for number in numbers if number.isdigit()), key=int)
    return [environment[prefix + number] for number in ordered]


def classpath(environment: Mapping[str, str]) -> str:
    """The class path: the configuration, then the jars of the application, then those of Spark."""
    parts = [
        environment.get("SPARK_CONF_DIR"),
        environment.get("HADOOP_CONF_DIR"),
        environment.get("SPARK_CLASSPATH"),
        f"{environment['SPARK_HOME']}/jars/*",
        environment.get("SPARK_EXTRA_CLASSPATH"),
        environment.get("SPARK_DIST_CLASSPATH"),
    ]
    return ":".join(part for part in parts if part)


def required(role: str, environment: Mapping[str, str], name: str) -> str:
    """The value of a variable that Spark sets in its pods."""
    if not environment.get(name):
        fail(role, f"{name}: wanted the value that Spark on Kubernetes sets; got none")
    return environment[name]


def decommission() -> None:
    """Asks the executor of this container to hand over, and waits until it has ended."""
    processes = backends()
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGPWR)
    deadline = time.monotonic() + DECOMMISSION_TIMEOUT
    while time.monotonic() < deadline and set(processes) & set(backends()):
        time.sleep(0.5)


def backends() -> list[int]:
    """The processes of this container that are executors."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if BACKEND in process.read_text(errors="replace").split("\0"):
                found.append(int(process.parent.name))
    return found
