"""The scripts behind ``make setup`` and ``make lab``."""

import os
import subprocess
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks/fruits_pca.ipynb"


def script(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "deploy/local" / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def java(home: Path, version: str) -> None:
    """Writes a script that replaces Java and prints this version."""
    (home / "bin").mkdir(parents=True)
    (home / "bin/java").write_text(f"#!/bin/sh\necho '{version}' >&2\n")
    (home / "bin/java").chmod(0o755)


@pytest.mark.parametrize(
    ("version", "found"),
    [('openjdk version "11.0.22" 2024-01-16', "Java 11"), ('java version "1.8.0_402"', "Java 1")],
)
def test_an_old_java_is_one_line_and_status_2(tmp_path: Path, version: str, found: str) -> None:
    java(tmp_path, version)
    done = script("check-java.sh", JAVA_HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"wanted Java 17 or newer, found {found}: install" in done.stderr


def test_a_missing_java_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = script("check-java.sh", JAVA_HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"found none in JAVA_HOME={tmp_path}" in done.stderr


@pytest.mark.parametrize(
    "version", ['openjdk version "17.0.10"', 'openjdk version "26" 2026-03-17']
)
def test_a_new_java_is_accepted_silently(tmp_path: Path, version: str) -> None:
    java(tmp_path, version)
    done = script("check-java.sh", JAVA_HOME=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# What pip prints while it installs one package from a wheel and one from its source.
PIP = """\
Collecting numpy==2.3.1 (from -r lock (line 1))
  Downloading numpy-2.3.1-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (62 kB)
Collecting pyspark==4.3.0 (from -r lock (line 2))
  Downloading pyspark-4.3.0.tar.gz (434.2 MB)
  Preparing metadata (pyproject.toml): started
Building wheels for collected packages: pyspark
  Building wheel for pyspark (pyproject.toml): started
  Building wheel for pyspark (pyproject.toml): finished with status 'done'
Successfully built pyspark
Installing collected packages: pyspark, numpy
Successfully installed numpy-2.3.1 pyspark-4.3.0
"""


def test_an_installation_says_installed_only_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "pip.txt").write_text(PIP)
    (tmp_path / "lock").write_text("numpy==2.3.1 \\\npyspark==4.3.0 \\\n")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncase \"$*\" in *isolation*) cat '{tmp_path}/pip.txt' ;; esac\n")
    python.chmod(0o755)

    done = script("install.sh", python, tmp_path / "lock")

    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines == [
        "50 %",
        "100 %",
        "building pyspark",
        "unpacking; the longest part",
        "installed",
    ]


def test_the_copy_of_the_notebook_needs_no_download(tmp_path: Path) -> None:
    copy = tmp_path / "data/notebooks/fruits_pca.ipynb"
    assert script("copy-notebook.sh", NOTEBOOK, copy).returncode == 0
    cells = {cell.id: cell.source for cell in nbformat.read(copy, as_version=4).cells}
    before = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}
    changed = {name for name in cells if cells[name] != before[name]}
    assert changed == {"parameters"}

    values: dict[str, object] = {}
    exec(cells["parameters"], values)
    assert values["backbone"] == "EfficientNetLite0"


def test_a_copy_that_was_changed_stays_and_an_outdated_one_is_kept_under_another_name(
    tmp_path: Path,
) -> None:
    copy = tmp_path / "data/notebooks/fruits_pca.ipynb"
    script("copy-notebook.sh", NOTEBOOK, copy)
    copy.write_text("mine")
    assert script("copy-notebook.sh", NOTEBOOK, copy).stdout == ""
    assert copy.read_text() == "mine"

    os.utime(copy, (1, 1))
    output = script("copy-notebook.sh", NOTEBOOK, copy).stdout
    (old,) = set(copy.parent.iterdir()) - {copy}
    assert str(old) in output
    assert old.read_text() == "mine"
    assert nbformat.read(copy, as_version=4).cells
