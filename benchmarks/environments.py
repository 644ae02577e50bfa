"""Virtual environments for other programs, which the project itself does not need."""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.inputs import DATA

LOCKS = Path(__file__).parent / "peers"


def python_of(name: str) -> str:
    """The Python of an environment made from ``peers/NAME.lock``, installing it where needed.

    Raises:
        RuntimeError: when it cannot be installed here; the message is pip's last line.
    """
    lock = LOCKS / f"{name}.lock"
    folder = DATA / "envs" / name
    python = str(folder / "bin" / "python")
    done, digest = folder / "done", hashlib.sha256(lock.read_bytes()).hexdigest()
    if done.exists() and done.read_text().strip() == digest:
        return python
    print(f"installing {name} into {folder}", flush=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        # The lock is complete, but for what the project leaves out on purpose.
        [*install, "--require-hashes", "--no-deps", "-r", str(lock)],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            lines = result.stderr.strip().splitlines() or ["no reason given"]
            raise RuntimeError(f"{name} cannot be installed: {lines[-1]}")
    done.write_text(digest)
    return python
