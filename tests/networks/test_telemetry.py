"""OpenVINO's converter can report its use; here it does not."""

import os
from pathlib import Path

import pytest

from fruits.networks.compile import compile_backbone


def test_nothing_is_reported_about_a_compilation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In place of OpenVINO's own package, one that leaves a trace when it is imported.
    package = tmp_path / "packages" / "openvino_telemetry"
    (package / "backend").mkdir(parents=True)
    trace = tmp_path / "imported"
    (package / "__init__.py").write_text(f"open({str(trace)!r}, 'w').close()\nTelemetry = None\n")
    (package / "backend" / "__init__.py").write_text("backend_ga4 = None\n")
    home = tmp_path / "home"
    home.mkdir()
    path = f"{tmp_path / 'packages'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    for name, value in {
        "PYTHONPATH": path,
        "HOME": str(home),
        "FRUITS_CACHE": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    compile_backbone("MobileNetV2", "random")
    assert not trace.exists()
    assert not (home / "intel").exists()
