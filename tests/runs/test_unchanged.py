"""If all results are up to date, a run ends before Spark starts; after any change, it does not."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from estimates import predicted
from prepared import prepared

from fruits.errors import OutputError
from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.writer import FeatureWriter
from fruits.networks import processor
from fruits.networks.graph import CompiledGraph
from fruits.runs import fingerprint, unchanged
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.inputs import list_images
from fruits.runs.outputs import Outputs
from fruits.runs.pipeline import run
from fruits.runs.prepare import PreparedRun
from fruits.runs.progress import Stages
from fruits.runs.run_json import now
from fruits.runs.summary import summary
from fruits.runs.unchanged import report_if_unchanged, seconds_if_unchanged
from fruits.storage.lock import Lock, exclusive

pytestmark = pytest.mark.usefixtures("graph")

NETWORK = {"backbone": "EfficientNetLite0"}


def finish(config: RunConfig, report: dict[str, Any] | None = None) -> None:
    """Writes files like those of a finished run, without Spark, and so with other contents."""
    ready = prepared(config)
    found, outputs = ready.listing.table(), ready.outputs
    with exclusive(outputs.uri("_lock")) as lock:
        outputs.prepare(lock, ready.graph.identity, config.overwrite)
        staged = outputs.staging()
        commit_rows(found, outputs, lock)
        staged.write_table(REJECTED.empty_table(), "rejected")
        for name in ("pca.csv", "pca/000000000.parquet", "model/_basis.json", "plots/scree.png"):
            staged.write(name, name.encode())
        described = {
            "counts": {"found": found.num_rows, "extracted": found.num_rows, "rejected": 0},
            "components": 2,
            "explained_variance": [0.9, 0.08],
            "basis_turned_degrees": None,
            "finished": now(),
            "fingerprint": ready.fingerprint,
        }
        outputs.publish(
            *(lock, "rejected", "pca", "pca.csv", "model", "plots"),
            report=described | (report or {}),
        )


def commit_rows(found: pa.Table, outputs: Outputs, lock: Lock) -> None:
    """Commits arbitrary features for images."""
    rows = found.select(["path", "label", "split", "length", "modified"])
    rows = rows.append_column("sha256", pa.array(["0" * 64] * found.num_rows))
    features = lists(np.zeros((found.num_rows, 3), np.float32))
    store = FeatureWriter(outputs.root / "features", lock)
    name = f"{'a' * 32}-000000000.parquet"
    rows = rows.append_column("features", features).select(FEATURES.names)
    write_rows(store.staged / name, rows.cast(FEATURES))
    store.commit([name], REJECTED.empty_table())


def look(config: RunConfig) -> dict[str, Any] | None:
    return report_if_unchanged(prepared(config))


@pytest.fixture
def config(draw: Callable[..., Path], tmp_path: Path) -> RunConfig:
    images, output = draw({"Fig": 3, "Lime": 2}), tmp_path / "out"
    return RunConfig(images=str(images), output=str(output), **NETWORK)


def test_the_summary_says_since_when_nothing_has_changed(config: RunConfig, tmp_path: Path) -> None:
    finish(config, {"finished": "2026-01-02T03:04:05+00:00"})
    report = look(replace(config, chunk=7))
    assert report is not None
    assert report == json.loads((tmp_path / "out" / "run.json").read_text())
    assert report["counts"] == {"found": 5, "extracted": 0, "reused": 5, "rejected": 0}
    assert report["parameters"]["chunk"] == 7
    line = summary(report, Outputs.of(config.output)).splitlines()[0]
    assert line.startswith("nothing has changed since 2026-01-02 03:04:05 UTC: 5 images: 0 extr")
    # This is also true later, because the new run.json counts as a result, too.
    assert look(config) is not None
    assert not (tmp_path / "out" / "_lock").exists()


def planned(config: RunConfig) -> dict[str, float] | None:
    stages = Stages(io.StringIO())
    return seconds_if_unchanged(config, list_images(config, stages), stages)


def test_a_plan_estimates_a_run_that_finds_nothing_changed(
    config: RunConfig, tmp_path: Path
) -> None:
    assert planned(config) is None
    finish(config)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    seconds = planned(config)
    assert seconds is not None
    assert list(seconds) == ["list", "check", "total"]
    assert seconds["total"] == pytest.approx(seconds["list"] + seconds["check"])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    line = replace(predicted(5), unchanged=seconds).text().splitlines()[0]
    assert line.startswith("unchanged nothing has changed since the last run")

    assert planned(replace(config, overwrite=True)) is None
    assert planned(replace(config, components=2)) is None
    touch(tmp_path / "images" / "Fig" / "0_100.jpg")
    assert planned(config) is None


def test_files_that_are_no_images_are_counted_again(config: RunConfig, tmp_path: Path) -> None:
    finish(config)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    report = look(config)
    assert report is not None
    assert report["counts"]["passed_over"] == {".txt": 1}


def touch(path: Path) -> None:
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 1))


IMAGES: dict[str, Callable[[Path], object]] = {
    "a new image": lambda root: (root / "Fig/9.jpg").write_bytes(b"new"),
    "an image less": lambda root: (root / "Fig/0_100.jpg").unlink(),
    "an image of another time": lambda root: touch(root / "Fig/0_100.jpg"),
    "an image of another length": lambda root: (root / "Fig/0_100.jpg").write_bytes(b"x"),
    "another name": lambda root: (root / "Fig").rename(root / "Figs"),
}


@pytest.mark.parametrize("what", IMAGES)
def test_other_images_are_a_change(config: RunConfig, tmp_path: Path, what: str) -> None:
    finish(config)
    assert look(config) is not None
    IMAGES[what](tmp_path / "images")
    assert look(config) is None


RESULTS: dict[str, Callable[[Path], object]] = {
    "a result that is gone": lambda out: (out / "plots/scree.png").unlink(),
    "a result of another size": lambda out: (out / "pca.csv").write_text("shorter"),
    "a result of another time": lambda out: touch(out / "pca.csv"),
    "a file of features that is gone": lambda out: next(out.glob("features/*.parquet")).unlink(),
    "a manifest that was edited": lambda out: touch(out / "features/_chunks/000000.json"),
    "no run.json": lambda out: (out / "run.json").unlink(),
    "a damaged run.json": lambda out: (out / "run.json").write_text("{"),
    "no record": lambda out: (out / "_fruits.json").unlink(),
    "features that no run has committed": lambda out: (
        out / f"features/{'b' * 32}.parquet"
    ).write_bytes(b"rows"),
}


@pytest.mark.parametrize("what", RESULTS)
def test_changed_results_are_written_again(config: RunConfig, tmp_path: Path, what: str) -> None:
    finish(config)
    RESULTS[what](tmp_path / "out")
    assert look(config) is None


OPTIONS = [
    {"label": "grandparent"},
    {"split": "none"},
    {"group": "(?P<group>.*)_"},
    {"components": 2},
    {"scaler": "standard"},
    {"classifier": "none"},
    {"transform": "none"},
    {"csv": False},
    {"limit": 4},
    {"max_rejected": 0.01},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda one: next(iter(one)))
def test_another_option_is_a_change(config: RunConfig, options: dict[str, Any]) -> None:
    finish(config)
    assert look(replace(config, **options)) is None


def test_overwrite_repeats_all_steps(config: RunConfig) -> None:
    finish(config)
    assert look(replace(config, overwrite=True)) is None


def test_options_without_effect_on_results_are_no_change(config: RunConfig, tmp_path: Path) -> None:
    finish(config)
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = replace(config, output=str(tmp_path / "moved"), chunk=3, allow_removed=True)
    assert look(moved) is not None


def test_another_network_has_another_fingerprint(config: RunConfig, graph: CompiledGraph) -> None:
    found = prepared(config).found
    other = graph.identity | {"weights_sha256": "0" * 64}
    model = fingerprint.model_digest(config)
    identities = (graph.identity, other)
    marks = [fingerprint.fingerprint(config, found, one, model) for one in identities]
    assert {name for name in marks[0] if marks[0][name] != marks[1][name]} == {"network"}


@pytest.mark.parametrize("what", ["processor", "versions", "code"])
def test_another_instruction_set_or_version_is_a_change(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    finish(config)
    changes = {
        "processor": ("instruction_sets", lambda: ["x86_64", "sse4"]),
        "versions": ("package_versions", lambda: {"numpy": "0.1"}),
        "code": ("_of_code", lambda package: "0" * 64),
    }
    monkeypatch.setattr(fingerprint, *changes[what])
    assert look(config) is None


def test_an_instruction_set_is_one_that_the_processor_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processor, "_cpuinfo", lambda name: "fpu sse4_1 avx2")
    assert processor.instruction_sets()[1:] == ["avx2", "sse4"]


def test_an_interrupted_run_is_continued(config: RunConfig) -> None:
    finish(config)
    ready = prepared(config)
    with exclusive(ready.outputs.uri("_lock")) as lock:
        ready.outputs.prepare(lock, ready.graph.identity, overwrite=False)
    assert look(config) is None


def test_unreadable_images_are_retried(config: RunConfig) -> None:
    # The run.json of such a run has no fingerprint.
    finish(config, {"fingerprint": None})
    assert look(config) is None


def test_another_run_on_the_output_is_named(config: RunConfig) -> None:
    finish(config)
    with (
        exclusive(f"{config.output}/_lock"),
        pytest.raises(OutputError, match=r"process \d+ on .* is writing here"),
    ):
        look(config)


def test_changes_before_the_lock_are_noticed(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finish(config)

    def after_another_run(uri: str) -> object:
        (tmp_path / "out" / "pca.csv").write_text("of another run")
        return exclusive(uri)

    monkeypatch.setattr(unchanged, "exclusive", after_another_run)
    assert look(config) is None


def test_a_check_that_was_suspended_replaces_no_report_of_another_run(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finish(config)
    kept_report, calls = unchanged._kept_report, iter("12")

    def late(ready: PreparedRun) -> dict[str, Any] | None:
        report = kept_report(ready)
        if next(calls) == "2":
            (tmp_path / "out" / "_lock").write_bytes(Lock(f"{tmp_path}/out/_lock").bytes())
            (tmp_path / "out" / "run.json").write_text("of another run")
        return report

    monkeypatch.setattr(unchanged, "_kept_report", late)
    with pytest.raises(OutputError, match="this run lost"):
        look(config)
    assert (tmp_path / "out" / "run.json").read_text() == "of another run"


def test_files_of_the_user_among_the_results_are_no_change(
    config: RunConfig, tmp_path: Path
) -> None:
    finish(config)
    (tmp_path / "out" / "plots" / "mine.svg").write_text("mine")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert look(config) is not None


def test_another_model_is_a_change(config: RunConfig, tmp_path: Path) -> None:
    found = prepared(config).found
    identity = {"backbone": "any"}
    using = replace(config, model=str(tmp_path / "model"))
    finish(replace(config, output=str(tmp_path / "model")))

    def mark() -> dict[str, str]:
        model = fingerprint.model_digest(using)
        return fingerprint.fingerprint(using, found, identity, model)

    before = mark()
    assert mark() == before
    names = ("json", "classifier", "baselines")
    files = [*(f"model/_basis.{name}" for name in names), "predictor/predictor.json"]
    for name in files:
        file = tmp_path / "model" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("fitted again")
        after = mark()
        assert {one for one in after if before[one] != after[one]} == {"model"}
        before = after


@pytest.mark.parametrize("submitted", [False, True])
def test_a_submitted_application_opens_a_session(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, submitted: bool
) -> None:
    """YARN counts an application without a session as failed."""
    finish(config)
    opened: list[str] = []
    monkeypatch.setattr(Run, "spark", property(lambda found: opened.append(str(found.outputs))))
    if submitted:
        monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    assert "checked" in run(config, io.StringIO()).report
    assert len(opened) == submitted


def zipped(folder: Path, target: Path) -> str:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*.jpg")):
            archive.write(file, file.relative_to(folder))
    return str(target)


def test_a_folder_an_archive_and_a_table_together_are_compared(
    config: RunConfig, draw: Callable[..., Path], tmp_path: Path
) -> None:
    more = draw({"Kiwi": 2}, folder="more", seed=1)
    archive = zipped(draw({"Plum": 3}, folder="zipped", seed=2), tmp_path / "plums.zip")
    table = tmp_path / "table.csv"
    rows = [f"{more}/Kiwi/{number}_100.jpg,Kiwi\n" for number in range(2)]
    table.write_text("path,label\n" + "".join(rows))
    several = replace(config, images=f"{config.images},{archive},{table}")
    finish(several)
    report = look(several)
    assert report is not None
    assert report["counts"]["found"] == 10
    table.write_text("path,label\n" + "".join(rows).replace(",Kiwi", ",Kiwifruit"))
    assert look(several) is None
    table.write_text("path,label\n" + "".join(rows))
    assert look(several) is not None
    draw({"Plum": 4}, folder="zipped", seed=3)
    zipped(tmp_path / "zipped", tmp_path / "plums.zip")
    assert look(several) is None


@pytest.mark.slow
def test_images_and_results_in_a_store(
    bucket: Any, draw: Callable[..., Path], tmp_path: Path
) -> None:
    for file in draw({"Fig": 3}).rglob("*.jpg"):
        bucket.upload_file(str(file), f"images/{file.relative_to(tmp_path / 'images')}")
    config = RunConfig(images="s3://fruits/images", output="s3://fruits/out", **NETWORK)
    finish(config)
    assert look(config) is not None
    assert look(config) is not None
    bucket.put_object(Key="out/pca.csv", Body=b"pca.CSV")  # same size
    assert look(config) is None
    finish(config)
    bucket.put_object(Key="images/Fig/9.jpg", Body=b"new")
    assert look(config) is None


@pytest.mark.slow
def test_java_and_spark_are_not_needed_if_nothing_changed(
    config: RunConfig, tmp_path: Path
) -> None:
    finish(config)
    names = {"images": config.images, "output": config.output, **NETWORK}
    options = [text for name, value in names.items() for text in (f"--{name}", value)]
    code = (
        "import sys\nfrom fruits.cli import main\nstatus = main(sys.argv[1:])\n"
        "print(sorted({'pyspark', 'matplotlib', 'scipy'} & sys.modules.keys()))\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", *options],
        env=os.environ | {"JAVA_HOME": str(tmp_path / "no-java")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nothing has changed since ")
    assert done.stdout.endswith("\n[]\n")
    (tmp_path / "images" / "Fig" / "0_100.jpg").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "fruits.cli", "run", *options],
        env=os.environ | {"JAVA_HOME": str(tmp_path / "no-java")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "java: wanted Java" in done.stderr
