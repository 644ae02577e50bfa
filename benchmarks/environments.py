"""Virtual environments for other tools, which the project itself does not need."""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.inputs import DATA

LOCKS = Path(__file__).parent / "peers"


def python_of(name: str) -> str:
    """The Python of the environment of ``peers/NAME.lock``, which is installed first if necessary.

    Raises:
        RuntimeError: it cannot be installed; the message is the last line of pip.
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
        # The lock contains all dependencies, except those that the project omits on purpose.
        [*install, "--require-hashes", "--no-deps", "-r", str(lock)],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            lines = result.stderr.strip().splitlines() or ["no reason given"]
            raise RuntimeError(f"{name} cannot be installed: {lines[-1]}")
    done.write_text(digest)
    return python
