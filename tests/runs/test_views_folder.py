"""The folder in which the notebook runs: relative paths start in the project folder."""

from pathlib import Path

import pytest

from fruits.runs import views

ROOT = Path(__file__).parents[2]


def started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Starts in a folder, checks that this folder is returned, and returns the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    assert views.enter_project() == str(folder.resolve())
    return Path.cwd()


@pytest.mark.parametrize("folder", [".", "notebooks", "data/notebooks", "data/demo", "docs"])
def test_in_a_checkout_it_is_the_checkout(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyproject.toml", "fruits/runs/__init__.py", "notebooks/fruits_pca.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    assert started(tmp_path / folder, monkeypatch) == tmp_path.resolve()


@pytest.mark.parametrize("folder", [".", "notebooks", "notebooks/runs"])
def test_in_the_home_of_the_image_it_is_the_home(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert started(tmp_path / folder, monkeypatch) == tmp_path.resolve()


def test_in_another_project_papermill_stays_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    there = tmp_path / "notebooks/first"
    assert started(there, monkeypatch) == there.resolve()
