"""The bootstrap action of EMR, in a separate root folder, with a local folder instead of S3."""

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stacks import ROOT

from fruits.cloud.jobs import ENTRY

BOOTSTRAP = ROOT / "deploy" / "emr" / "bootstrap.sh"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

# A command that serves s3://bucket/... from $STORE, and records its calls.
AWS = """#!/usr/bin/env python3
import fnmatch, os, pathlib, shutil, sys
store, arguments = pathlib.Path(os.environ["STORE"]), sys.argv[1:]
with open(store / "log", "a") as log:
    print(*arguments, file=log)
away = store / "away"
if away.exists() and (left := int(away.read_text())):
    away.write_text(str(left - 1))
    sys.exit("fatal error: Could not connect to the endpoint URL")
def local(place):
    return store / place[5:] if place.startswith("s3://") else pathlib.Path(place)
if arguments[:2] == ["s3api", "put-object"]:
    bucket, key = (arguments[arguments.index(o) + 1] for o in ("--bucket", "--key"))
    (store / bucket / key).mkdir(parents=True, exist_ok=True)
    sys.exit(0)
source, target = map(local, [a for a in arguments if "/" in a])
if arguments[:2] == ["s3", "sync"] or "--recursive" in arguments:
    pattern = arguments[arguments.index("--include") + 1] if "--include" in arguments else "*"
    for file in source.rglob("*") if source.exists() else ():
        if file.is_file() and fnmatch.fnmatch(file.name, pattern):
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
elif source.exists():
    shutil.copy(source, target)
else:
    sys.exit(f"fatal error: An error occurred (404): {source}")
"""


MAIN = 'def main():\n    print("the package\'s main")\n    return 7\n'


@dataclass
class Node:
    """The files of a node, and the folder that it uses as S3."""

    root: Path
    store: Path
    path: str
    sha256: str

    @property
    def python(self) -> Path:
        return self.root / "opt" / "fruits" / "bin" / "python"

    def run(self, *more: str, sha256: str | None = None) -> subprocess.CompletedProcess[str]:
        wheels = ("--wheels", "s3://bucket/software/wheels", "--sha256", sha256 or self.sha256)
        return self.bash(*wheels, "--python", str(self.python), *more)

    def bash(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BOOTSTRAP, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={
                "PATH": self.path,
                "STORE": str(self.store),
                "FRUITS_ROOT": str(self.root),
                "FRUITS_PAUSE": "0",
            },
        )

    def asked(self) -> str:
        log = self.store / "log"
        return log.read_text() if log.exists() else ""


# Options that are complete.
GIVEN = ["--wheels", "s3://b/w", "--sha256", "0" * 64, "--python", "/opt/fruits/bin/python"]


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Node]:
    """A primary node, and a folder of wheels: the package and one dependency."""
    wheels = tmp_path / "store" / "bucket" / "software" / "wheels"
    wheels.mkdir(parents=True)
    modules = {"cli": MAIN, **package("needed")}
    lines = [f"# python {PYTHON} {platform.machine()}\n"]
    for name, content in (("fruits", modules), ("needed", {"__init__": ""})):
        file = wheel(wheels, name, content)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        lines.append(f"{name}==1.0 --hash=sha256:{digest}\n")
    (wheels / "requirements.txt").write_text("".join(lines))

    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "aws").write_text(AWS.replace("/usr/bin/env python3", sys.executable))
    (programs / "systemctl").write_text('#!/bin/sh\necho "systemctl $*" >>"$STORE/log"\n')
    (programs / f"python{PYTHON}").symlink_to(sys.executable)
    for program in programs.iterdir():
        program.chmod(0o755)

    root = tmp_path / "root"
    info = root / "mnt" / "var" / "lib" / "info"
    info.mkdir(parents=True)
    (info / "instance.json").write_text('{"isMaster": true, "isRunningNameNode": true}')
    (root / "home" / "hadoop").mkdir(parents=True)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    yield Node(root, tmp_path / "store", f"{programs}:/usr/bin:/bin", digest)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment like the one that the bootstrap makes, which takes seconds."""
    folder = tmp_path_factory.mktemp("environment") / "fruits"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def node(bare: Node, environment: Path) -> Node:
    """A node that has an environment, but no wheels yet."""
    shutil.copytree(environment, bare.python.parent.parent, symlinks=True)
    return bare


def package(imported: str) -> dict[str, str]:
    """The modules that a node imports to check the package; one of them imports `imported`."""
    runtime = {"networks/__init__": "", "networks/runtime": f"import {imported}\n"}
    return {"__init__": "", "errors": "", **runtime}


def wheel(folder: Path, name: str, modules: dict[str, str]) -> Path:
    """A wheel without dependencies."""
    file = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        for module, text in modules.items():
            archive.writestr(f"{name}/{module}.py", text)
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    return file


def test_a_node_gets_the_wheels_of_the_bucket_and_nothing_else(bare: Node) -> None:
    done = bare.run()
    assert done.returncode == 0, done.stderr
    check = "import fruits.networks.runtime, needed, sys; print(sys.prefix)"
    found = subprocess.run(
        [bare.python, "-I", "-c", check], capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()) == bare.python.parent.parent
    command = (bare.root / "usr/local/bin/fruits-env").read_text()
    assert f"PYSPARK_PYTHON={bare.python}" in command
    assert subprocess.run(["bash", "-n"], input=command, text=True, check=True).returncode == 0


def test_a_second_run_changes_nothing(node: Node) -> None:
    assert node.run().returncode == 0
    before = {file: file.stat().st_mtime_ns for file in (node.root / "opt").rglob("*")}
    asked = node.asked()
    done = node.run()
    assert done.returncode == 0, done.stderr
    assert "has these wheels already" in done.stdout
    assert {file: file.stat().st_mtime_ns for file in (node.root / "opt").rglob("*")} == before
    assert node.asked() == asked


def test_the_primary_node_keeps_its_notebooks_in_s3_and_their_token_to_itself(node: Node) -> None:
    kept = node.store / "bucket" / "fruits" / "notebooks"
    (kept / "more").mkdir(parents=True)
    for name in ("mine.ipynb", "more/second.ipynb"):
        (kept / name).write_text("{}")
    options = ("--notebooks", "s3://bucket/fruits/notebooks")
    done = node.run(*options, "--history", "s3://bucket/fruits/emr/history")
    assert done.returncode == 0, done.stderr
    assert (node.store / "bucket/fruits/emr/history").is_dir()
    home = node.root / "home" / "hadoop"
    for name in ("mine.ipynb", "more/second.ipynb"):
        assert (home / "notebooks" / name).read_text() == "{}"
    config = home / ".jupyter" / "jupyter_server_config.json"
    assert config.stat().st_mode & 0o077 == 0
    token = config.read_text()
    assert re.search(r'"token": "[0-9a-f]{48}"', token)
    unit = (node.root / "etc/systemd/system/fruits-notebook.service").read_text()
    assert "--ip=127.0.0.1" in unit
    assert "User=hadoop" in unit
    assert "sync --only-show-errors /home/hadoop/notebooks s3://bucket/fruits/notebooks/" in unit
    assert "enable --now fruits-notebook.service fruits-keep.timer" in node.asked()
    # A second run does not change the token, so that users stay logged in.
    assert node.run(*options).returncode == 0
    assert config.read_text() == token


def test_files_that_jobs_can_write_are_not_loaded_automatically(node: Node) -> None:
    kept = node.store / "bucket" / "fruits" / "notebooks"
    kept.mkdir(parents=True)
    for name in ("numpy.py", "jupyter_config.py", "sitecustomize.py", ".bashrc", "a.ipynb.py"):
        (kept / name).write_text("raise SystemExit")
    (kept / "mine.ipynb").write_text("{}")
    done = node.run("--notebooks", "s3://bucket/fruits/notebooks")
    assert done.returncode == 0, done.stderr
    notebooks = node.root / "home" / "hadoop" / "notebooks"
    assert [file.name for file in notebooks.rglob("*")] == ["mine.ipynb"]


def test_jobs_start_with_a_file_of_the_node_that_runs_the_package(node: Node) -> None:
    assert node.run().returncode == 0
    program = node.python.parent.parent / "run.py"
    # The path in the commands of steps, below the root folder of the node.
    assert str(program).removeprefix(str(node.root)) == ENTRY
    assert program.stat().st_mode & 0o022 == 0
    done = subprocess.run(
        [node.python, program], env={}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (7, "the package's main\n"), done.stderr
    assert "run.py" not in node.asked()


def test_other_nodes_have_no_workbench(node: Node) -> None:
    (node.root / "mnt/var/lib/info/instance.json").write_text('{"isMaster": false}')
    done = node.run("--notebooks", "s3://bucket/n", "--history", "s3://bucket/h")
    assert done.returncode == 0, done.stderr
    assert not (node.root / "etc").exists()
    assert "put-object" not in node.asked()


def test_a_list_that_is_not_the_pinned_one_is_refused(bare: Node) -> None:
    done = bare.run(sha256="1" * 64)
    assert done.returncode != 0
    assert "does not have the SHA-256 of --sha256" in done.stderr
    assert not bare.python.exists()


def test_a_wheel_that_was_changed_is_refused(node: Node) -> None:
    wheels = node.store / "bucket/software/wheels"
    wheel(wheels, "needed", {"__init__": "import os  # and more\n"})
    done = node.run()
    assert done.returncode != 0
    assert "do not match the hashes" in done.stderr.lower()
    assert not list((node.root / "opt/fruits").glob("installed-*"))


def test_a_missing_wheel_is_not_downloaded_from_elsewhere(node: Node) -> None:
    (node.store / "bucket/software/wheels/needed-1.0-py3-none-any.whl").unlink()
    done = node.run()
    assert done.returncode != 0
    assert "needed" in done.stderr


def test_a_package_that_cannot_be_imported_fails_the_node(node: Node) -> None:
    wheels = node.store / "bucket/software/wheels"
    file = wheel(wheels, "fruits", package("absent"))
    text = (wheels / "requirements.txt").read_text()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    text = re.sub(r"(fruits==1.0 --hash=sha256:)\w+", rf"\g<1>{digest}", text)
    (wheels / "requirements.txt").write_text(text)
    done = node.run(sha256=hashlib.sha256(text.encode()).hexdigest())
    assert done.returncode != 0
    assert "cannot be imported" in done.stderr


def test_s3_may_be_unavailable_for_a_moment_only(node: Node) -> None:
    (node.store / "away").write_text("3")
    assert node.run().returncode == 0
    shutil.rmtree(node.root / "opt")
    (node.store / "away").write_text("100")
    done = node.run()
    assert done.returncode != 0
    assert "bootstrap: gave up: aws s3 cp" in done.stderr


def test_a_python_that_the_release_does_not_have_is_named(bare: Node) -> None:
    wheels = bare.store / "bucket/software/wheels"
    text = (wheels / "requirements.txt").read_text().replace(f"python {PYTHON}", "python 3.99")
    (wheels / "requirements.txt").write_text(text)
    done = bare.run(sha256=hashlib.sha256(text.encode()).hexdigest())
    assert done.returncode != 0
    assert "python3.99, which this release does not have" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--wheels", "/folder"], "--wheels: wanted a folder such as s3://"),
        (["--wheels", "s3://b/w"], "--sha256: wanted what wheels.sh printed; got ''"),
        (["--wheels", "s3://b/w", "--sha256", "0" * 64, "--python", "python"], "--python: wanted"),
        (["--wheel", "s3://b/w"], "unknown option --wheel"),
        ([*GIVEN, "--notebooks", "--delete"], "--notebooks: wanted a folder such as s3://"),
        ([*GIVEN, "--history", "/tmp/x"], "--history: wanted a folder such as s3://"),
    ],
)
def test_wrong_options_are_one_line(bare: Node, arguments: list[str], wanted: str) -> None:
    done = bare.bash(*arguments)
    assert done.returncode != 0
    assert wanted in done.stderr
    assert done.stderr.count("\n") == 1
