"""Runs with little work, which start no Spark."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import without_java
from forms import as_zip
from pyspark.sql import SparkSession

from fruits.networks.graph import CompiledGraph
from fruits.planning.resources import available_cores
from fruits.predictor import Predictor
from fruits.runs import workers
from fruits.runs.config import RunConfig
from fruits.runs.pipeline import run
from fruits.runs.workers import MOST_NEW, local_processes
from fruits.spark import configuration
from fruits.spark.configuration import local_tasks, may_do_without_spark

Draw = Callable[..., Path]

LABELS = {"Training/Fig": 12, "Training/Lime": 12, "Training/Plum": 12, "Test/Fig": 4}


@pytest.fixture
def _no_java(monkeypatch: pytest.MonkeyPatch, graph: CompiledGraph) -> None:
    without_java(monkeypatch)


def go(images: Path, output: Path, *options: str, command: str = "run") -> dict[str, Any]:
    """Runs in a process of its own, and returns the content of run.json."""
    words = ["--images", str(images), "--output", str(output), *options]
    if command == "run":
        words += ["--backbone", "EfficientNetLite0"]
    done = subprocess.run(
        [sys.executable, "-m", "fruits.cli", command, *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((output / "run.json").read_text())
    return found


def results(output: Path) -> dict[str, bytes]:
    """The files whose bits depend on the images alone."""
    names = ["pca.csv", *(f"model/_basis.{one}" for one in ("moments", "classifier", "baselines"))]
    for table in ("pca", "predictions", "quality", "rejected"):
        names += [str(one.relative_to(output)) for one in (output / table).rglob("*.parquet")]
    return {name: (output / name).read_bytes() for name in names}


def features(output: Path) -> pd.DataFrame:
    rows = pd.read_parquet(output / "features").sort_values("path").reset_index(drop=True)
    return rows.assign(features=[bytes(row) for row in rows["features"]])


def assert_documented(report: dict[str, Any]) -> None:
    """Checks that the documentation lists each key of run.json."""
    text = (Path(__file__).parents[2] / "docs/api.md").read_text().partition("## run.json")[2]
    first = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    assert [key for key in report if f"`{key}`" not in first] == []
    assert [key for key in report["classifier"] if f".{key}`" not in first] == []


@pytest.mark.spark
@pytest.mark.usefixtures("graph")
def test_the_results_have_the_same_bits_as_those_of_spark(
    spark: SparkSession, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, ours, theirs = draw(LABELS), tmp_path / "ours", tmp_path / "theirs"
    (images / "Training" / "Fig" / "bad.jpg").write_bytes(b"no image")
    config = RunConfig(images=str(images), output=str(theirs), backbone="EfficientNetLite0")
    by_spark = run(config).report
    assert by_spark["spark"] == {"master": "local[2]", "executors": 1}
    with monkeypatch.context() as patched:
        without_java(patched)
        report = go(images, ours)
    assert_documented(report)
    assert report["local_processes"] == available_cores()
    assert not {"spark", "session"} & {*report, *report["seconds"]}
    assert report["counts"] == by_spark["counts"]
    assert report["evaluation"] == by_spark["evaluation"]
    assert report["versions"] == by_spark["versions"]
    assert results(ours) == results(theirs)
    pd.testing.assert_frame_equal(features(ours), features(theirs))
    # The saved model is one of Spark ML.
    from pyspark.ml import PipelineModel

    model = PipelineModel.load(f"file:{ours}/model")
    files = spark.read.format("binaryFile").load(f"file:{images}/Test/*/*.jpg")
    labels = model.transform(files).select("path", "predictedLabel").toPandas()
    predicted = pd.read_parquet(ours / "predictions").set_index("path")["predicted"]
    assert labels.set_index("path")["predictedLabel"].to_dict() == {
        path: predicted[path] for path in labels["path"]
    }


@pytest.mark.slow
@pytest.mark.usefixtures("_no_java")
def test_a_collection_grows_without_spark(draw: Draw, tmp_path: Path) -> None:
    images, grown, scratch = draw(LABELS), tmp_path / "grown", tmp_path / "scratch"
    share = ("--components", "0.9")
    go(images, grown, *share)
    draw({"Training/Kiwi": 9}, seed=5)
    fig, lime = images / "Training" / "Fig", images / "Training" / "Lime"
    (fig / "0_100.jpg").write_bytes((images / "Training/Kiwi/0_100.jpg").read_bytes() + b"x")
    (fig / "1_100.jpg").unlink()
    (lime / "2_100.jpg").write_bytes(b"no image")
    report = go(images, grown, *share)
    assert report["counts"] == {"found": 48, "extracted": 10, "reused": 37, "rejected": 1}
    assert report["local_processes"] == available_cores()
    go(images, scratch, *share)
    drift = "quality/drift.parquet"  # It compares with the last run.
    assert results(grown) | {drift: b""} == results(scratch) | {drift: b""}
    pd.testing.assert_frame_equal(
        features(grown).drop(columns="modified"), features(scratch).drop(columns="modified")
    )
    # Nothing has changed; then, the model is applied to other images.
    counts = {"found": 48, "extracted": 0, "reused": 47, "rejected": 1}
    assert go(images, grown, *share)["counts"] == counts
    others = draw({"Fig": 3}, "others", seed=8)
    options = ("--model", str(grown))
    predicted = go(others, tmp_path / "predicted", *options, command="predict")
    assert predicted["counts"]["extracted"] == 3
    rows = pd.read_parquet(tmp_path / "predicted" / "predictions").set_index("path")
    predictor = Predictor.load(str(grown))
    for file in sorted((others / "Fig").iterdir()):
        one = predictor.predict(file.read_bytes())
        assert (one.label, one.confidence) == tuple(
            rows.loc[f"file:{file}", ["predicted", "confidence"]]
        )


@pytest.mark.usefixtures("_no_java")
def test_a_classifier_of_an_earlier_version_is_replaced(draw: Draw, tmp_path: Path) -> None:
    images, output = draw(LABELS), tmp_path / "output"
    config = RunConfig(images=str(images), output=str(output), backbone="EfficientNetLite0")
    run(config)
    file = output / "model" / "_basis.classifier"
    current = file.read_bytes()
    with np.load(file) as arrays:
        older = {name: arrays[name] for name in arrays.files}
    description = json.loads(older["description"].tobytes())
    del description["distance_shrinkage"]
    older["description"] = np.frombuffer(json.dumps(description).encode(), np.uint8)
    with file.open("wb") as opened:
        np.savez(opened, **older)
    (images / "Test" / "Fig" / "more.jpg").write_bytes(
        next((images / "Test" / "Fig").iterdir()).read_bytes()
    )

    assert run(config).report["counts"]["reused"] == 41  # The new image is a copy.

    assert file.read_bytes() == current  # Only the test side has grown.


@pytest.mark.usefixtures("_no_java")
def test_members_that_an_archive_does_not_allow_to_read_are_not_read_again(
    draw: Draw, tmp_path: Path
) -> None:
    archive, out = as_zip(draw(LABELS), tmp_path / "all.zip"), tmp_path / "out"
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_LZMA) as file:
        file.writestr("Training/Fig/lzma.jpg", b"x" * 100)
    assert go(archive, out)["counts"] == {"found": 41, "extracted": 40, "reused": 0, "rejected": 1}
    rejected = pd.read_parquet(out / "rejected")
    assert rejected["error"].str.startswith("unsupported compression: LZMA").tolist() == [True]
    # Only a run with nothing to retry has a fingerprint, which the next run compares.
    report = go(archive, out)
    assert report["counts"] == {"found": 41, "extracted": 0, "reused": 40, "rejected": 1}
    assert report["fingerprint"] is not None


@pytest.mark.usefixtures("_no_java")
def test_renamed_and_copied_files_need_neither_spark_nor_the_network(
    draw: Draw, tmp_path: Path
) -> None:
    images, out = draw(LABELS), tmp_path / "out"
    go(images, out)
    before = features(out)
    (images / "Training" / "Fig").rename(images / "Training" / "Ficus")
    lime = images / "Training" / "Lime"
    (lime / "twin.jpg").write_bytes((lime / "0_100.jpg").read_bytes())
    report = go(images, out, "--allow-removed")
    assert report["counts"] == {"found": 41, "extracted": 0, "reused": 41, "rejected": 0}
    assert report["local_processes"] == available_cores()
    after = features(out)
    assert after["label"].value_counts().to_dict() == {
        "Ficus": 12,
        "Fig": 4,
        "Lime": 13,
        "Plum": 12,
    }
    same = before.set_index("sha256")["features"].to_dict()
    assert after.set_index("sha256")["features"].to_dict() == same


@pytest.mark.usefixtures("_no_java")
def test_a_run_without_spark_has_little_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "spark_is_active", lambda: False)
    out = tmp_path / "out"
    config = RunConfig(images="images", output=str(out))
    assert local_processes(config, MOST_NEW) == available_cores()
    assert local_processes(config, MOST_NEW + 1) is None
    softmax = RunConfig(images="images", output=str(out), classifier="softmax")
    assert local_processes(softmax, 2) is None
    out.mkdir()
    for found, expected in ((5_000, available_cores()), (4_000, None), ("damaged", None)):
        (out / "run.json").write_text(json.dumps({"counts": {"found": found}}))
        assert local_processes(config, 5_000 + MOST_NEW) == expected
    (out / "run.json").write_text(json.dumps({"counts": {"found": 300_000}}))
    assert local_processes(config, 300_000) is None
    again = RunConfig(images="images", output=str(out), overwrite=True)
    assert local_processes(again, 5_000) is None


@pytest.mark.usefixtures("_no_java")
@pytest.mark.parametrize(
    ("settings", "without", "tasks"),
    [
        ("", True, 7),
        ("spark.master   local[*]\n", True, 7),
        ("spark.master=local\n", True, 1),
        ("  spark.master: local[3]\n", True, 3),
        ("spark.master local[3,4]\n", True, 3),
        ("spark.master local[2]\nspark.master spark://host:7077\n", False, None),
        ("spark.master yarn\n", False, None),
        ("spark.master local-cluster[2,1,1024]\n", False, None),
        ("# Caf\xe9\nspark.master\nspark.ui.enabled true\n", True, 7),
        ("# spark.master yarn\nspark.masters yarn\n", True, 7),
    ],
)
def test_the_master_of_the_configuration_decides(
    settings: str,
    without: bool,
    tasks: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(configuration, "spark_is_active", lambda: False)
    (tmp_path / "spark-defaults.conf").write_text(settings, "latin-1")
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    assert may_do_without_spark() is without
    assert tasks is None or local_tasks(7) == tasks
    for name in ("PYSPARK_SUBMIT_ARGS", "PYSPARK_GATEWAY_PORT", "SPARK_REMOTE", "MASTER"):
        with monkeypatch.context() as patched:
            patched.setenv(name, "x")
            assert not may_do_without_spark()


@pytest.mark.spark
@pytest.mark.usefixtures("_no_java")
def test_a_run_uses_a_session_that_exists(spark: SparkSession) -> None:
    assert not may_do_without_spark()


def test_control_groups_limit_the_cores(tmp_path: Path) -> None:
    all_cores = len(os.sched_getaffinity(0))
    assert available_cores(cgroup=tmp_path) == all_cores
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert available_cores(cgroup=tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_cores(cgroup=tmp_path) == all_cores


def test_control_groups_of_version_1_limit_the_cores(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("5:cpu,cpuacct:/docker/x\n")
    group = tmp_path / "cpu"
    group.mkdir()
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (group / "cpu.cfs_quota_us").write_text("100000\n")
    assert available_cores(tmp_path, tmp_path) == 1
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert available_cores(tmp_path, tmp_path) == len(os.sched_getaffinity(0))


def test_a_run_without_spark_starts_few_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "available_cores", lambda: 96)
    monkeypatch.setattr(workers, "may_do_without_spark", lambda: True)
    config = RunConfig(images="images", output=str(tmp_path))
    assert local_processes(config, 500) == 16
    assert local_processes(config, 3) == 3
