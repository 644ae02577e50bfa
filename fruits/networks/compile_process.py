"""Compiles networks in child processes, which large or damaged files may crash."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from fruits.errors import BackboneError, one_line


def run_module(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a module of this package that exits with status 2 if the user can fix the error.

    Args:
        module: the name of the module.
        arguments: its arguments, of which the first one is the network or its folder.

    Returns:
        The completed process, with its stderr.

    Raises:
        BackboneError: the process exited with status 2, and the message is its last line; or it
            was killed.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    if done.returncode == 2:
        raise BackboneError(done.stderr.splitlines()[-1])
    if done.returncode == -signal.SIGKILL:
        raise BackboneError(
            f"wanted enough memory to compile {Path(arguments[0]).name}; its process was killed, "
            "most likely because memory ran out: use a machine or a container with more memory"
        )
    return done


def write_result(path: Path, content: bytes) -> None:
    """Writes a file with a result of the child process.

    Raises:
        BackboneError: the file cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise BackboneError(
            f"the compiled network cannot be stored in {path.parent} ({one_line(error)}): free "
            "some space there"
        ) from error


def disable_telemetry() -> None:
    """Disables the telemetry of OpenVINO's converter in this process.

    It would write a user id into the home directory and send data about the converted model. If its
    telemetry package is missing, OpenVINO uses a replacement that does nothing.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
