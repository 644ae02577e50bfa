"""Java starts while the images are listed, and ends if the run fails."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fruits.networks.graph import CompiledGraph

COMMAND = [sys.executable, "-m", "fruits.cli", "run", "--backbone", "EfficientNetLite0"]


def run(*options: str) -> tuple[int, list[str], set[str]]:
    """The status and the lines of a failed run, and the remaining processes of its session."""
    with subprocess.Popen(
        [*COMMAND, *options], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        # This waits until all processes that may write to it have ended, including Java.
        _, printed = process.communicate(timeout=300)
    left = subprocess.run(
        ["ps", "-s", str(process.pid), "-o", "stat=,comm="], capture_output=True, text=True
    )
    # An ended process may be a zombie for a while.
    alive = [line for line in left.stdout.splitlines() if not line.startswith("Z")]
    lines = [line for line in printed.replace("\r", "\n").splitlines() if line.strip()]
    return process.returncode, lines, set(alive)


@pytest.mark.spark
def test_an_error_while_java_starts_is_the_last_line_and_java_ends(
    draw: Callable[..., Path], graph: CompiledGraph, tmp_path: Path
) -> None:
    images, out = draw({"Fig": 4}), tmp_path / "out"
    status, lines, left = run("--images", str(images), "--output", str(out), "--components", "9")
    assert status == 2
    assert lines[-1].startswith("fruits: components: wanted at most 4")
    assert [line.split()[0] for line in lines[:-1] if not line.endswith("...")] == [
        "list",
        "compile",
    ]
    assert left == set()
    assert not out.exists()


def test_java_is_not_started_for_missing_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\ntouch {started}\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    status, lines, _ = run("--images", str(tmp_path / "nowhere"), "--output", str(tmp_path / "out"))
    assert status == 2
    assert lines[-1].endswith("nowhere does not exist")
    assert not started.exists()
