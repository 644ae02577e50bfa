"""The script of ``make demo``, which runs a notebook."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.slow  # Each test starts a kernel.

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "deploy/local/demo.py"),
        str(tmp_path / "notebook.ipynb"),
        str(tmp_path / "copy.ipynb"),
        "name=Apple",
    ]


def write(command: list[str], *cells: str) -> None:
    parameters = nbformat.v4.new_code_cell("name = ''", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(
        cells=[parameters, *map(nbformat.v4.new_code_cell, cells)],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python"},
        },
    )
    nbformat.write(notebook, command[2])


def test_only_the_output_of_the_cells_is_shown(command: list[str]) -> None:
    write(command, "print('hello', name)", "1 + 1")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello Apple\n", "")
    executed = nbformat.read(command[3], as_version=4)
    assert executed.cells[-1].outputs[0].data["text/plain"] == "2"


CHILD = """
import os, signal
signal.signal(signal.SIGINT, lambda *_: os.write(2, b"interrupted"))
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_a_kernel_that_has_finished_is_stopped_without_an_interruption(command: list[str]) -> None:
    write(
        command,
        "import subprocess, sys, threading\n"
        f"child = subprocess.Popen([sys.executable, '-c', {CHILD!r}], stdout=subprocess.PIPE)\n"
        "assert child.stdout.readline() == b'ready\\n'\n"
        "threading.Thread(target=child.wait, daemon=True).start()",
    )
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_notebook_starts_in_the_folder_of_its_copy(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    command[3] = str(tmp_path / "demo/copy.ipynb")
    write(command, "import os\nprint(os.getcwd())")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == f"{(tmp_path / 'demo').resolve()}\n"


def test_an_error_of_the_user_is_one_line(command: list[str]) -> None:
    write(command, "import fruits\nfruits.RunConfig(images='in', output='')")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "ConfigError: output: wanted a path or URI; got ''\n"


def test_an_interruption_is_one_line_and_status_130(command: list[str]) -> None:
    write(command, "import time\nprint('ready', flush=True)\ntime.sleep(600)")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == ""
    assert err.strip() == "interrupted; make demo continues after the last commit"
