"""pyproject.toml, the locks, the wheel and the checks before a commit."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = sorted(ROOT.glob("requirements*.lock"))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!;\[]", requirement)[0] for requirement in requirements}


def locked(lock: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", lock.read_text(), re.MULTILINE))


def copy_sources(folder: Path) -> None:
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "fruits"):
        subprocess.run(["cp", "-r", ROOT / name, folder], check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    copy_sources(source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-build-isolation"]
    subprocess.run([*build, "--no-deps", "-w", folder, source], check=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_an_editable_installation_is_found_from_the_folder_above_it(tmp_path: Path) -> None:
    copy_sources(tmp_path / "fruits")  # The folder of a clone has the name of the package.
    build = "from setuptools.build_meta import build_editable; build_editable('..')"
    done = [sys.executable, "-c", build]
    subprocess.run(done, cwd=tmp_path / "fruits", check=True, capture_output=True)
    (editable,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(editable).extractall(tmp_path / "installed")

    # Without the environment of the tests, which has the package, too.
    code = "import site; site.addsitedir('installed'); import fruits; print(fruits.__file__)"
    found = subprocess.check_output(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, env={}, text=True
    )

    assert found.strip() == str(tmp_path / "fruits" / "fruits" / "__init__.py")


def test_the_core_is_what_a_predictor_needs() -> None:
    assert names(PROJECT["dependencies"]) == {
        *("fsspec", "numpy", "openvino", "pillow", "pyarrow", "threadpoolctl")
    }


def test_only_the_extra_spark_asks_for_pyspark() -> None:
    asking = {extra for extra, wanted in EXTRAS.items() if "pyspark" in names(wanted)}
    assert asking == {"spark"}


def test_the_workbench_is_every_extra() -> None:
    (wanted,) = EXTRAS["workbench"]
    extras = set(re.fullmatch(r"fruits\[(.*)\]", wanted)[1].split(","))  # type: ignore[index]
    # "spark" includes "run".
    assert extras | {"run"} == EXTRAS.keys() - {"workbench"}


def test_the_lock_has_every_extra_and_no_telemetry() -> None:
    wanted = names(PROJECT["dependencies"]).union(*map(names, EXTRAS.values())) - {"fruits"}
    assert wanted <= locked(ROOT / "requirements.lock")
    for lock in LOCKS:
        assert "openvino-telemetry" not in locked(lock), lock


def stub(folder: Path, name: str, version: str) -> None:
    """Writes an empty wheel."""
    base = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{base}-py3-none-any.whl", "w") as file:
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        file.writestr(f"{base}.dist-info/METADATA", about)
        file.writestr(f"{base}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{base}.dist-info/RECORD", "")


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "replaces"), [("run", False), ("spark", True)])
def test_a_platform_keeps_its_own_pyspark_with_the_extra_run(
    wheel: zipfile.ZipFile, tmp_path: Path, extra: str, replaces: bool
) -> None:
    """pip itself resolves the dependencies, among empty wheels with the versions of the lock."""
    pins = re.findall(
        r"^([a-z0-9.-]+)==([^ ;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    for name, version in pins:
        stub(tmp_path, name, version)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    [site] = (tmp_path / "venv/lib").glob("python*/site-packages")
    installed = site / "pyspark-4.1.0.dev1.dist-info"
    installed.mkdir()
    text = "Metadata-Version: 2.1\nName: pyspark\nVersion: 4.1.0.dev1\n"
    (installed / "METADATA").write_text(text)
    command = [sys.executable, "-m", "pip", "--python", tmp_path / "venv/bin/python", "install"]
    command += ["--dry-run", "--quiet", "--report", "-", "--no-index", "--find-links", tmp_path]
    wanted = f"{wheel.filename}[{extra},keras,s3]"
    done = subprocess.run([*command, wanted], capture_output=True, text=True, check=True)
    chosen = {one["metadata"]["name"] for one in json.loads(done.stdout)["install"]}
    assert {"fruits", "pandas", "s3fs"} <= chosen
    assert ("pyspark" in chosen) is replaces


def test_the_build_tools_of_pyspark_are_in_the_lock() -> None:
    assert {"setuptools", "wheel"} <= locked(ROOT / "requirements.lock")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_each_pin_has_hashes_and_no_lock_names_a_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    entries = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_wheel_has_each_module_the_prices_the_types_and_the_licence(
    wheel: zipfile.ZipFile,
) -> None:
    inside = set(wheel.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "fruits"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(tracked) <= inside
    licences = {name.rpartition("/")[2] for name in inside if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_version_is_defined_once() -> None:
    version = PROJECT["version"]
    tracked = subprocess.run(
        ["git", "grep", "-l", "-F", f'"{version}"', "--", "*.py", "Dockerfile", "*.yml", "*.toml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [name for name in tracked if not name.startswith("tests/")] == ["pyproject.toml"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert any(step.get("run", "").endswith(".ci/run") for step in steps)


def test_actions_are_pinned_by_commit() -> None:
    used = [
        step["uses"]
        for path in (ROOT / ".github/workflows").glob("*.yml")
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for step in job["steps"]
        if "uses" in step
    ]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)


def test_pre_commit_runs_the_tools_of_the_lock() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {hook["repo"] for hook in hooks} == {"local"}
    entries = [hook["entry"].split()[0] for repo in hooks for hook in repo["hooks"]]
    assert set(entries) == {".venv/bin/ruff", ".venv/bin/mypy"}
