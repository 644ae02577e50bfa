import subprocess
import sys
from pathlib import Path

import pytest

from fruits.errors import ConfigError
from fruits.spark.java import require_java


def java(home: Path, version: str = "", release: str = "") -> str:
    """Makes a folder that replaces a Java of another version."""
    (home / "bin").mkdir(parents=True)
    (home / "bin/java").write_text(f"#!/bin/sh\necho '{version}' >&2\n")
    (home / "bin/java").chmod(0o755)
    if release:
        (home / "release").write_text(release)
    return str(home)


@pytest.mark.parametrize(
    ("version", "release", "found"),
    [
        ('openjdk version "11.0.22" 2024-01-16', "", "Java 11"),
        ('java version "1.8.0_402"', "", "Java 8"),
        ("", 'IMPLEMENTOR_VERSION="Temurin-11"\nJAVA_VERSION="11.0.22"\n', "Java 11"),
    ],
)
def test_an_old_java_is_refused_with_its_version(
    version: str, release: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", java(tmp_path, version, release))
    with pytest.raises(ConfigError, match=rf"wanted Java 17 or newer; found {found}, .*install"):
        require_java()


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ('openjdk version "17.0.10"', ""),
        ("", 'JAVA_VERSION="21"'),
        ('java version "26-ea"', ""),
        ("something of its own", ""),
    ],
)
def test_a_new_or_an_unknown_java_is_accepted(
    version: str, release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", java(tmp_path, version, release))
    require_java()


@pytest.mark.slow
def test_a_run_without_java_is_one_line_and_status_2(
    tmp_path: Path, draw: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = draw({"red": 3, "blue": 3})  # type: ignore[operator]
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    command = [sys.executable, "-m", "fruits.cli", "run", "--images", images, "--output", tmp_path]
    done = subprocess.run(
        [*command[:-1], tmp_path / "out", "--backbone", "EfficientNetLite0"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("fruits:")]
    assert len(errors) == 1
    assert f"java: wanted Java 17 or newer; found none in JAVA_HOME={tmp_path}" in errors[0]
    assert "Traceback" not in done.stderr
