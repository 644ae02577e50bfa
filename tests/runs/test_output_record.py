"""A run never changes files that it did not make."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from small_pictures import draw_pictures

from fruits.errors import OutputError
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.output_record import LOCK, RECORD, OutputRecord
from fruits.runs.outputs import Outputs
from fruits.runs.pipeline import run
from fruits.storage.location import Location
from fruits.storage.lock import exclusive


def run_on(images: Path, output: Path, **options: object) -> Run:
    settings = {"images": str(images), "output": str(output), "backbone": "EfficientNetLite0"}
    return run(RunConfig(**settings | options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(
    spark: SparkSession, graph: CompiledGraph, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Run]:
    """A folder with ``images`` and ``out``, which tests do not change, and the run that made it."""
    folder = tmp_path_factory.mktemp("finished")
    images = draw_pictures(folder / "images", {"Fig": 5, "Kiwi": 4})
    return folder, run_on(images, folder / "out")


@pytest.fixture
def go(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> Callable[..., Run]:
    root = draw({"Fig": 5, "Kiwi": 4})

    def go(**options: object) -> Run:
        return run_on(root, tmp_path / "out", **options)

    return go


FOREIGN = ["model/thesis.txt", "plots/mine.svg", "rejected/notes.txt", "pca.csv", "run.json"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "name", [*FOREIGN, "pca/x.parquet", "features/x.parquet", "_staging/x", "_lock"]
)
def test_a_folder_with_other_files_under_our_names_is_refused(
    go: Callable[..., Run], tmp_path: Path, name: str, overwrite: bool
) -> None:
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text("a year of work")
    with pytest.raises(OutputError, match=rf"is not of a run and has {name.split('/')[0]}, "):
        go(overwrite=overwrite)
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == [file]
    assert file.read_text() == "a year of work"


def test_files_of_the_user_in_the_folders_of_results_survive(
    finished: tuple[Path, Run], tmp_path: Path
) -> None:
    folder, first = finished
    out = shutil.copytree(folder / "out", tmp_path / "out")
    mine = [
        "model/thesis.txt",
        "model/stages/note.txt",
        "plots/mine.svg",
        "rejected/notes.txt",
        "pca/notes.parquet",
        "features/x.parquet",
        "features/_chunks/readme.md",
        "_staging/x",
        "own/table.csv",
    ]
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(name)
    expected = first.table("pca").toPandas()
    for options in ({}, {"csv": False}, {"overwrite": True}):
        again = run_on(folder / "images", out, **options)
        if options == {"csv": False}:
            assert again.report["counts"]["reused"] == 9
        assert {name: (out / name).read_text() for name in mine} == {name: name for name in mine}
        pd.testing.assert_frame_equal(again.table("pca").toPandas(), expected)
        pd.testing.assert_frame_equal(
            again.outputs.published("pca").to_table().to_pandas(), expected
        )
    assert not (out / "pca.csv.old").exists()
    assert sorted(p.name for p in (out / "_staging").iterdir()) == ["x"]


def test_a_file_of_the_user_under_the_name_of_a_result_stops_the_run(
    go: Callable[..., Run], tmp_path: Path
) -> None:
    go(csv=False, classifier="none")
    (tmp_path / "out" / "pca.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"has pca\.csv, which no run has made"):
        go(classifier="none")
    assert (tmp_path / "out" / "pca.csv").read_text() == "mine"
    assert json.loads((tmp_path / "out" / "run.json").read_text())["counts"]["found"] == 9


def test_a_deleted_table_is_named_in_one_line(tmp_path: Path) -> None:
    OutputRecord.of(Location.of(str(tmp_path))).save(frozenset({"pca/000000000.parquet"}))
    outputs = Outputs.of(str(tmp_path))
    with pytest.raises(OutputError, match=r"wanted the table pca; file:\S+/pca does not exist"):
        outputs.published("pca")


def test_a_table_that_the_run_did_not_write_is_no_reason_to_run_again(
    finished: tuple[Path, Run],
) -> None:
    with pytest.raises(OutputError) as caught:
        finished[1].table("predictons")
    assert str(caught.value) == (
        f"output: wanted the table predictons; file:{finished[0]}/out/predictons does not exist: "
        "the last run did not write it, or it was deleted"
    )


def test_the_record_names_every_file_of_a_run(finished: tuple[Path, Run]) -> None:
    out = finished[0] / "out"
    record = OutputRecord.of(Location.of(str(out)))
    files = [path for path in out.rglob("*") if path.is_file()]
    names = {str(path.relative_to(out)) for path in files} - {RECORD}
    assert {name for name in names if not record.owns(name)} == set()


def test_a_run_continues_an_output_of_a_version_without_a_record(
    go: Callable[..., Run], tmp_path: Path
) -> None:
    go(classifier="none")  # earlier versions had no record
    (tmp_path / "out" / RECORD).unlink()
    # Earlier versions did not have these files either.
    shutil.rmtree(tmp_path / "out" / "quality")
    (tmp_path / "out" / "report.html").unlink()
    (tmp_path / "out" / "pca" / "_made_by.json").unlink()
    assert go().report["counts"]["reused"] == 9
    assert (tmp_path / "out" / RECORD).exists()


def test_a_damaged_record_is_one_line(finished: tuple[Path, Run], tmp_path: Path) -> None:
    folder, _ = finished
    out = shutil.copytree(folder / "out", tmp_path / "out")
    for damaged in ('{"made": ', "[]", '{"made": 3}'):
        (out / RECORD).write_text(damaged)
        with pytest.raises(OutputError, match=r"_fruits\.json is damaged"):
            run_on(folder / "images", out)


def test_features_that_another_run_made_before_the_lock_are_not_mixed(tmp_path: Path) -> None:
    ours, theirs = Outputs.of(str(tmp_path / "out")), Outputs.of(str(tmp_path / "out"))
    ours.check({"backbone": "A"}, overwrite=False)
    with exclusive(ours.uri(LOCK)) as lock:
        theirs.prepare(lock, {"backbone": "B"}, overwrite=False)
        with pytest.raises(OutputError, match="has features of backbone B; wanted backbone A"):
            ours.prepare(lock, {"backbone": "A"}, overwrite=False)
        theirs.check({"backbone": "B"}, overwrite=False)
        ours.prepare(lock, {"backbone": "A"}, overwrite=True)
