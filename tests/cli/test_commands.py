import subprocess
import sys
from pathlib import Path

import pytest

from fruits.cli import main


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["run"], "--images, --output"),
        (["run", "--images", "a", "--output", "b", "--backbone", "X"], "MobileNetV2"),
        (["run", "--images", "a", "--output", "b", "--engine", "X"], "openvino"),
        (["run", "--images", "a", "--output", "b", "--scaler", "X"], "minmax"),
        (["run", "--images", "a", "--output", "b", "--limit", "few"], "--limit"),
        (["run", "--images", "a", "--output", "b", "--components", "few"], "--components"),
        (["run", "--images", "a", "--output", "b", "--components", "0"], "components: wanted"),
        (["run", "--images", "a", "--output", "b", "--components", "1.01"], "components: wanted"),
        (["run", "--images", "nowhere", "--output", "b"], "nowhere does not exist"),
        (["sample", "--output", "x", "--classes", "0"], "classes"),
    ],
)
def test_bad_usage_is_one_line_on_stderr_and_status_2(
    arguments: list[str],
    wanted: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code  # type: ignore[assignment]
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    # On a busy machine, the stage is printed first, on a line that is then cleared.
    printed = [line for line in err.splitlines() if "drawing" not in line]
    lines = [line for line in printed if line.strip() not in {"list ...", ""}]
    assert len(lines) == 1
    assert lines[0].startswith("fruits")
    assert wanted in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_reported_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fruits.cli", "run", "--images", tmp_path, "--output", "x"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    *before, error = done.stderr.splitlines()
    assert error.startswith("fruits: images: wanted files that end in .jpg")
    # On a busy machine, the stage is printed first, on the same line, which is then cleared.
    assert {line.strip() for line in before} <= {"list ...", ""}


@pytest.mark.spark
def test_a_sample_and_a_run_end_with_status_0_and_print_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample, output = str(tmp_path / "sample"), str(tmp_path / "out")
    arguments = ["sample", "--output", sample, "--classes", "2", "--per-class", "6", "--seed", "3"]
    assert main(arguments) == 0
    assert "images in" in capsys.readouterr().out
    options = ["--backbone", "EfficientNetLite0", "--components", "3", "--no-csv"]
    assert main(["run", "--images", f"{sample}/Training", "--output", output, *options]) == 0
    out = capsys.readouterr().out
    assert "12 images: 12 extracted" in out
    assert "3 components explain" in out
    assert f"{output}/features" in out
