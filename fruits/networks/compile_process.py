"""Runs what compiles networks in processes of its own, which large or broken files may end."""

from __future__ import annotations

import subprocess
import sys

from fruits.errors import BackboneError


def run_module(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a module of this package that exits with status 2 on what the user can fix.

    Returns:
        What became of the process, with what it has written to stderr.

    Raises:
        BackboneError: what the process refused, in one line.
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
    """Keeps OpenVINO's converter from telling others what it converts, in this process.

    It would write an id of the user into the home directory and send what was converted. Without
    its package for this, it uses a stand-in that does nothing.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
