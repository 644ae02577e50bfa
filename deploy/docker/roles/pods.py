"""The roles of pods that Spark itself makes on Kubernetes: ``driver`` and ``executor``.

Spark starts an image with one of these words and says the rest in variables, as its own image
expects them. ``decommission`` is what a pod does before it is stopped: the executor takes no more
tasks, finishes those it has and hands its blocks over.
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

# What the driver's pod has in memory for Spark's configuration, as other containers have.
CONF = Path("/dev/shm/spark")
PASSWD = Path("/etc/passwd")
BACKEND = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
# Options of an executor by the variables that Spark sets.
OPTIONS = {
    "--driver-url": "SPARK_DRIVER_URL",
    "--executor-id": "SPARK_EXECUTOR_ID",
    "--cores": "SPARK_EXECUTOR_CORES",
    "--app-id": "SPARK_APPLICATION_ID",
    "--hostname": "SPARK_EXECUTOR_POD_IP",
    "--resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
    "--podName": "SPARK_EXECUTOR_POD_NAME",
}
# Files that only the place where the application was submitted from needs, or that are not read.
NOT_COPIED = ("spark.properties", "spark-defaults.conf", "spark-env.sh")
# Seconds that an executor may take to hand over; a pod's own grace period may end it sooner.
HAND_OVER = 90


def own_configuration() -> Path | None:
    """Lets this container write Spark's configuration; returns the pod's, which it cannot change.

    Spark puts the application's properties, and files of whoever submitted it, into a folder of the
    pod and names that folder as the configuration.
    """
    given = os.environ.get("SPARK_CONF_DIR")
    os.environ["SPARK_CONF_DIR"] = str(CONF)
    return Path(given) if given and given != str(CONF) else None


def add_configuration(given: Path | None) -> None:
    """Copies the files that an application brought, such as core-site.xml or log4j2.properties."""
    if given is None or not given.is_dir():
        return
    for file in sorted(given.iterdir()):
        if file.is_file() and file.name not in NOT_COPIED:
            shutil.copy(file, CONF)


def require_user(role: str) -> None:
    """Gives this user a name, without which Hadoop refuses to work.

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
    """How the driver of an application is started in its own pod."""
    address = required("driver", environment, "SPARK_DRIVER_BIND_ADDRESS")
    return [
        f"{environment['SPARK_HOME']}/bin/spark-submit",
        *("--conf", f"spark.driver.bindAddress={address}"),
        *("--deploy-mode", "client"),
        # The application's own properties win over those of the image.
        *(["--load-spark-defaults"] if "--properties-file" in arguments else []),
        *arguments,
    ]


def executor_command(environment: Mapping[str, str]) -> list[str]:
    """How an executor is started."""
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
    """Configuration first, then what the application adds, then Spark's own jars."""
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
    deadline = time.monotonic() + HAND_OVER
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
