#!/opt/fruits/bin/python
"""Simulates an EC2 instance in a container of the image: all commands that user data calls.

``docker run`` starts the role of the image in this container, as user 1000 without privileges.
``curl`` returns the metadata of the instance, only with a token. ``aws`` simulates Secrets Manager
and the other calls of the scripts. ``systemctl`` starts services, and ``dnf`` does nothing. All
other calls fail.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

STATE = Path("/instance")
TOKEN = "a-token-of-imdsv2"
IMAGE = "registry.example/fruits:1"
VALUED = (
    *("--name", "--restart", "--network", "--env-file", "-e", "-v", "-p", "--shm-size", "--memory"),
    *("--cap-drop", "--security-opt", "--log-driver", "--log-opt"),
)


def main(name: str, arguments: list[str]) -> None:
    with (STATE / "log").open("a") as log:
        print(name, *arguments, file=log)
    programs = {"curl": curl, "aws": aws, "systemctl": systemctl, "docker": docker}
    if name in programs:
        programs[name](arguments)
    elif name not in ("dnf", "cfn-signal", "shutdown"):
        sys.exit(f"{name}: there is no such program")


def curl(arguments: list[str]) -> None:
    """Simulates IMDSv2 without IMDSv1; requests to other addresses are real."""
    url = next(a for a in arguments if a.startswith("http://"))
    if not url.startswith("http://169.254.169.254/latest/"):
        try:
            text = urllib.request.urlopen(url, timeout=5).read().decode()
        except OSError:
            sys.exit(22)
        if "-o" not in arguments:
            print(text)
        return
    path = url.removeprefix("http://169.254.169.254/latest/")
    if path == "api/token":
        asked = "PUT" in arguments and any("token-ttl-seconds: " in a for a in arguments)
        print(TOKEN) if asked else sys.exit(22)
        return
    if f"X-aws-ec2-metadata-token: {TOKEN}" not in arguments:
        sys.exit(22)
    known = {
        "meta-data/local-ipv4": socket.gethostbyname(socket.gethostname()),
        "meta-data/instance-id": "i-0123456789abcdef0",
        "meta-data/autoscaling/target-lifecycle-state": "InService",
    }
    answer = STATE / path.removeprefix("meta-data/").replace("/", ".")
    text = answer.read_text() if answer.exists() else known.get(path)
    if text is None:
        sys.exit(22)
    print(text, end="")


def aws(arguments: list[str]) -> None:
    if arguments[:2] == ["secretsmanager", "get-secret-value"]:
        print((STATE / arguments[arguments.index("--secret-id") + 1]).read_text())
    elif arguments[0] != "autoscaling":
        sys.exit(f"aws: nothing is known of {arguments[:2]}")


def systemctl(arguments: list[str]) -> None:
    """Starts a service from its unit file; ignores timers and Docker."""
    if arguments[:2] != ["enable", "--now"]:
        return
    for unit in arguments[2:]:
        file = Path("/etc/systemd/system") / unit
        if unit.endswith(".service") and file.exists():
            settings = dict(
                line.split("=", 1) for line in file.read_text().splitlines() if "=" in line
            )
            assignment = settings.get("Environment", "X=").split("=", 1)
            environment = os.environ | {assignment[0]: assignment[1]}
            # The commands of this file are on the PATH, like the real ones of an instance.
            environment["PATH"] = f"/shims:{environment['PATH']}"
            start([settings["ExecStart"]], environment, unit)


def docker(arguments: list[str]) -> None:
    command, *rest = arguments
    if command == "run":
        run(rest)
    elif command == "stop":
        stop(rest)
    elif command == "logs":
        print((STATE / f"{rest[-1]}.out").read_text())
    elif command != "pull" or rest[-1] != IMAGE:
        sys.exit(f"docker: nothing is known of {arguments}")


def run(arguments: list[str]) -> None:
    """Starts the role of ``docker run [OPTION...] IMAGE ROLE [ARGUMENT...]``."""
    name, detached = "", False
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("SPARK_", "AWS_"))
    } | {"SPARK_HOME": os.environ["SPARK_HOME"], "HOME": "/home/fruits"}
    while arguments[0] != IMAGE:
        option = arguments.pop(0)
        if option in ("-d", "--rm"):
            detached = detached or option == "-d"
            continue
        if option not in VALUED:
            sys.exit(f"docker: unknown flag: {option}")
        value = arguments.pop(0)
        if option == "--name":
            name = value
        elif option == "--env-file":
            environment |= dict(re.findall(r"^(\w+)=(.*)$", Path(value).read_text(), re.MULTILINE))
        elif option == "-e":
            environment |= [value.split("=", 1)]
        elif option == "-v":
            mount(value)
    # Each container has its own /dev/shm.
    environment["SPARK_CONF_DIR"] = f"/dev/shm/spark-{name}"
    unprivileged = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--no-new-privs"]
    command = [*unprivileged, "--bounding-set=-all", "roles", *arguments[1:]]
    if detached:
        start(command, environment, name)
    else:
        sys.exit(
            subprocess.run(command, env=environment, cwd="/home/fruits", check=False).returncode
        )


def mount(value: str) -> None:
    source, target, *_ = value.split(":")
    if source.startswith("/") and not Path(target).exists():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).symlink_to(source)


def start(command: list[str], environment: dict[str, str], name: str) -> None:
    with (STATE / f"{name}.out").open("w") as out:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd="/home/fruits",
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    (STATE / f"{name}.pid").write_text(str(process.pid))


def stop(arguments: list[str]) -> None:
    """``docker stop -t SECONDS NAME``: sends SIGTERM, and SIGKILL after these seconds."""
    flag, seconds, name = arguments
    assert flag == "-t"
    pid = int((STATE / f"{name}.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + int(seconds)
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[0]).name, sys.argv[1:])
