"""Starts the roles of the image without the image."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark

ROOT = Path(__file__).parents[2]
SPARK_HOME = Path(pyspark.__file__).parent
# The roles, with other paths instead of the folders of the image, and not as root.
START = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "deploy/docker/roles")!r})
import pods, settings
folder = Path(os.environ["TEST_FOLDER"])
settings.CONF = Path({str(ROOT / "conf")!r})
settings.SECRET = folder / "secret"
pods.CONF = folder / "spark"
pods.PASSWD = folder / "passwd"
os.geteuid = lambda: int(os.environ.get("TEST_USER", 1000))
if "TEST_OTHERS_VOLUME" in os.environ:  # The tests may run as root, who can write to any folder.
    os.access = lambda path, mode: False
source = Path({str(ROOT / "deploy/docker/roles/__main__.py")!r})
roles = {{"__name__": "roles"}}
exec(compile(source.read_text(), str(source), "exec"), roles)
roles["ROLE"] = folder / "role"
roles["EXECUTED"] = folder / "notebooks/runs"
roles["RECOVERY"] = folder / "spark-master/recovery"
roles["main"](sys.argv[1:])
"""
# The variables that Spark sets in the pod of an executor.
EXECUTOR = {
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@run-1-driver-svc.fruits.svc:7078",
    "SPARK_EXECUTOR_ID": "3",
    "SPARK_EXECUTOR_CORES": "4",
    "SPARK_EXECUTOR_MEMORY": "2048m",
    "SPARK_APPLICATION_ID": "spark-0f3a",
    "SPARK_EXECUTOR_POD_IP": "10.1.2.3",
    "SPARK_EXECUTOR_POD_NAME": "run-1-exec-3",
    "SPARK_RESOURCE_PROFILE_ID": "0",
}


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """The variables of image and pod; Java on the PATH is a script that prints its arguments."""
    java = folder / "bin/java"
    if not java.exists():
        java.parent.mkdir(parents=True, exist_ok=True)
        java.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
        java.chmod(0o755)
    return {
        "PATH": f"{java.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "SPARK_HOME": str(SPARK_HOME),
        "TEST_FOLDER": str(folder),
        **variables,
    }


def start(arguments: list[str], variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", START, *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def started(arguments: list[str], variables: dict[str, str]) -> list[str]:
    """The arguments of the started Java."""
    done = start(arguments, variables)
    assert done.returncode == 0, done.stderr
    return [str(word) for word in json.loads(done.stdout)]
