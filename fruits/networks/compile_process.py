"""Compiles networks in child processes, which large or damaged files may crash."""

from __future__ import annotations

import subprocess
import sys

from fruits.errors import BackboneError


def run_module(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a module of this package that exits with status 2 if the user can fix the error.

    Returns:
        The completed process, with its stderr.

    Raises:
        BackboneError: the process exited with status 2; the message is its last line.
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
    return done


def disable_telemetry() -> None:
    """Disables the telemetry of OpenVINO's converter in this process.

    It would write a user id into the home directory and send data about the converted model. If its
    telemetry package is missing, OpenVINO uses a replacement that does nothing.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
