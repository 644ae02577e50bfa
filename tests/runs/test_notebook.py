"""The notebook: its parameters, and one complete execution."""

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

import nbformat
import papermill
import pytest

from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.sample import draw_sample

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "fruits_pca.ipynb"
FIGURES = (*("image-grid", "scree", "pc1-pc2", "confusion", "calibration", "seconds"),)
PARAMETERS = {
    "backbone": "EfficientNetLite0",
    "scaler": "standard",
    "components": 5,
    "chunk": 10,
    "max_rejected": 0.2,
    "csv": False,
    "limit": 23,
    "overwrite": True,
}


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Replaces the project folder, with a sample at the default path of the notebook."""
    folder = tmp_path_factory.mktemp("project")
    draw_sample(str(folder / "data/sample"), classes=3, per_class=8)
    # The first image, which is used with any limit.
    first = min((folder / "data/sample/Test").rglob("*.jpg"))
    (first.parent / "0_broken.jpg").write_bytes(first.read_bytes()[:400])
    return folder


@pytest.fixture(scope="module")
def executed(folder: Path, graph: CompiledGraph) -> dict[str, list[nbformat.NotebookNode]]:
    """The outputs of each cell, after an execution in the folder in which JupyterLab starts it."""
    (folder / "notebooks").mkdir()
    done = papermill.execute_notebook(
        NOTEBOOK,
        folder / "executed.ipynb",
        parameters=PARAMETERS,
        cwd=folder / "notebooks",
        progress_bar=False,
    )
    return {cell.id: cell.outputs for cell in done.cells if cell.cell_type == "code"}


def text(outputs: list[nbformat.NotebookNode], stream: str) -> str:
    return "".join(output.text for output in outputs if output.get("name") == stream)


def test_the_parameters_are_the_options_with_their_defaults(
    notebook: nbformat.NotebookNode,
) -> None:
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    values: dict[str, object] = {}
    exec(cell.source, values)
    del values["__builtins__"]
    options = {field.name: field.default for field in fields(RunConfig)}
    assert list(values) == list(options)
    for name, default in options.items():
        if default is MISSING:
            assert values[name], f"{name} has no working default"
        else:
            assert values[name] == default
            assert type(values[name]) is type(default)
    RunConfig(**values)  # type: ignore[arg-type]


def test_papermill_finds_and_explains_every_parameter() -> None:
    found = papermill.inspect_notebook(NOTEBOOK)
    assert list(found) == [field.name for field in fields(RunConfig)]
    assert all(parameter["help"] for parameter in found.values())


def test_the_notebook_has_no_outputs_and_stable_ids(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    for cell in notebook.cells:
        assert cell.id.replace("-", "").isalnum()
        assert not cell.id.isdigit()
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_figures_appear_in_the_notebook(executed: dict[str, list[nbformat.NotebookNode]]) -> None:
    for cell in FIGURES:
        assert [sorted(output.data) for output in executed[cell]] == [["image/png", "text/plain"]]


def test_nothing_warns(executed: dict[str, list[nbformat.NotebookNode]]) -> None:
    for cell, outputs in executed.items():
        errors = text(outputs, "stderr")
        assert "warning" not in errors.lower(), f"{cell}: {errors}"
        assert "Traceback" not in errors, f"{cell}: {errors}"


def test_progress_and_counts_are_printed(executed: dict[str, list[nbformat.NotebookNode]]) -> None:
    assert "23/23" in text(executed["run"], "stdout")
    assert "extract" in text(executed["run"], "stdout")
    assert "23 images: 22 extracted" in text(executed["summary"], "stdout")


def test_tables_and_rejects_are_shown(executed: dict[str, list[nbformat.NotebookNode]]) -> None:
    rejected = text(executed["rejected"], "stdout")
    assert "0_broken.jpg" in rejected
    assert "truncated: the JPEG ends before its pixels" in rejected
    for name in ("features", "pca"):
        shown = executed[name][0].data["text/html"]
        assert shown.count("<tr") == 6
        assert len(shown) < 10_000


def test_both_evaluations_are_shown(
    executed: dict[str, list[nbformat.NotebookNode]],
) -> None:
    shown = executed["evaluations"][0].data["text/html"]
    assert "grouped cross-validation" in shown
    assert "split: test" in shown
    assert "groups; 3 labels grouped by file name" in text(executed["grouping"], "stdout")
    for cell in ("worst-labels", "confused-pairs", "suspects", "unknown"):
        assert executed[cell], f"{cell} shows nothing"


def test_the_report_and_the_map_are_shown(
    folder: Path, executed: dict[str, list[nbformat.NotebookNode]]
) -> None:
    [address] = set(re.findall(r'(?:href|src)="([^"]+)"', executed["report"][0].data["text/html"]))
    assert (folder / "notebooks" / address).resolve() == folder / "data/output/report.html"
    assert (folder / "notebooks" / address).is_file()
    assert "application/vnd.jupyter.widget-view+json" in executed["explore"][0].data
    assert "predicted" in executed["chosen"][0].data["text/html"]
    # Two of them are from the widget itself.
    assert (folder / "executed.ipynb").stat().st_size < 8_000_000


def test_results_are_in_the_project_folder(
    folder: Path, executed: dict[str, list[nbformat.NotebookNode]]
) -> None:
    output = folder / "data/output"
    report = json.loads((output / "run.json").read_text())
    assert report["parameters"] | PARAMETERS == report["parameters"]
    assert report["components"] == 5
    assert (output / "plots/scree.png").exists()
    assert (output / "pca").is_dir()
    assert not (output / "pca.csv").exists()
