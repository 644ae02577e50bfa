import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession
from small_pictures import draw_pictures

from fruits.errors import ConfigError
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.pipeline import run
from fruits.spark.read_images import read_images
from fruits.spark.session import MEANING, get_spark, run_session

# Some of these tests start a session in a separate process.
pytestmark = pytest.mark.spark

# Settings that notebooks and platforms use, and that would change how Spark reads or compares.
FOREIGN = {
    "spark.sql.session.timeZone": "Asia/Kathmandu",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.caseSensitive": "true",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.files.ignoreCorruptFiles": "true",
    "spark.sql.files.ignoreMissingFiles": "true",
    "spark.sql.parquet.binaryAsString": "true",
    "spark.sql.parquet.mergeSchema": "true",
    "spark.sql.execution.arrow.useLargeVarTypes": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "3",
    "spark.sql.execution.arrow.pyspark.enabled": "false",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "7",
    "spark.sql.parquet.outputTimestampType": "INT96",
    "spark.sql.parquet.compression.codec": "gzip",
    "spark.sql.sources.default": "json",
}


@contextmanager
def foreign_settings(spark: SparkSession) -> Iterator[SparkSession]:
    """Gives a session the settings of :data:`FOREIGN`, and resets them at the end."""
    before = {name: spark.conf.get(name, None) for name in FOREIGN}
    try:
        for name, value in FOREIGN.items():
            spark.conf.set(name, value)
        yield spark
    finally:
        for name, old in before.items():
            spark.conf.unset(name) if old is None else spark.conf.set(name, old)


def twice(root: Path, out: Path) -> dict[str, object]:
    """Executes a run, and another one that finds a renamed, a changed and a removed file."""
    config = RunConfig(images=str(root), output=str(out), backbone="EfficientNetLite0")
    run(config)
    (root / "Fig" / "0_100.jpg").rename(root / "Fig" / "z_100.jpg")
    (root / "Fig" / "1_100.jpg").write_bytes((root / "Fig" / "2_100.jpg").read_bytes())
    (root / "Kiwi" / "3_100.jpg").unlink()
    return run(config).report["counts"]


LABELS = {"Fig": 6, "Kiwi": 5}


@pytest.fixture(scope="module")
def expected(
    spark: SparkSession, graph: CompiledGraph, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, object]]:
    """A folder with ``images`` and ``out``, made with the normal settings, and the counts."""
    folder = tmp_path_factory.mktemp("expected")
    return folder, twice(draw_pictures(folder / "images", LABELS), folder / "out")


def test_a_run_has_the_same_results_in_a_session_with_other_settings(
    spark: SparkSession,
    expected: tuple[Path, dict[str, object]],
    draw: Callable[..., Path],
    tmp_path: Path,
) -> None:
    folder, counts = expected
    with foreign_settings(spark):
        assert twice(draw(LABELS), tmp_path / "out") == counts
        # The foreign session keeps its own settings.
        assert {name: spark.conf.get(name) for name in FOREIGN} == FOREIGN
    for table, column in (("features", "features"), ("pca", "pca")):
        rows = [
            {
                "/".join(row["path"].split("/")[-2:]): row[column]
                for row in pq.read_table(place / "out" / table).to_pylist()
            }
            for place in (folder, tmp_path)
        ]
        assert rows[0] == rows[1]
    times = pq.read_schema(next((tmp_path / "out" / "features").glob("*.parquet")))
    assert str(times.field("modified").type) == "timestamp[us, tz=UTC]"


def test_a_saved_model_computes_the_same_in_a_session_with_other_settings(
    spark: SparkSession, expected: tuple[Path, dict[str, object]]
) -> None:
    root, model = expected[0] / "images", f"file:{expected[0]}/out/model"

    def components() -> list[object]:
        rows = PipelineModel.load(model).transform(read_images(spark, str(root)))
        return [row.pca for row in rows.orderBy("path").collect()]

    usual = components()
    assert len(usual) == 10
    with foreign_settings(spark):
        assert components() == usual


def test_the_session_of_a_run_has_all_fixed_settings(spark: SparkSession) -> None:
    with foreign_settings(spark):
        session = run_session(spark)
    assert {name: session.conf.get(name) for name in MEANING} == MEANING
    assert session.sparkContext is spark.sparkContext


def test_spark_connect_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_REMOTE", "sc://localhost:15002")
    monkeypatch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")
    with pytest.raises(ConfigError, match="SPARK_REMOTE asks for Spark Connect"):
        get_spark()


def command(root: Path, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    arguments = ["--images", str(root), "--output", str(out), "--backbone", "EfficientNetLite0"]
    return subprocess.run(
        [sys.executable, "-m", "fruits.cli", "run", *arguments],
        env=os.environ | environment,
        text=True,
        capture_output=True,
    )


def test_a_worker_with_another_python_is_one_line(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 3})
    other = tmp_path / "python"
    # A worker that reports an older version of Python, like one on another host.
    other.write_text(
        f"#!{sys.executable}\n"
        "import collections, runpy, sys\n"
        "version = collections.namedtuple('version', 'major minor micro releaselevel serial')\n"
        "sys.version_info = version(3, 9, 1, 'final', 0)\n"
        "module = sys.argv[sys.argv.index('-m') + 1]\n"
        "sys.argv = sys.argv[sys.argv.index('-m') + 1:]\n"
        "runpy.run_module(module, run_name='__main__')\n"
    )
    other.chmod(0o755)
    done = command(root, tmp_path / "out", PYSPARK_PYTHON=str(other))
    assert done.returncode == 2
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith("fruits: spark: the workers run Python 3.9, the driver ")
    assert "Traceback" not in done.stderr


def with_event_log(folder: Path) -> str:
    """The arguments for a session that writes an event log."""
    settings = {"enabled": "true", "dir": f"file:{folder}"}
    settings |= {"rolling.enabled": "false", "compress": "false"}  # one file of text
    options = [f"--conf spark.eventLog.{name}={value}" for name, value in settings.items()]
    return " ".join(
        [os.environ["PYSPARK_SUBMIT_ARGS"].removesuffix("pyspark-shell"), *options, "pyspark-shell"]
    )


def test_an_event_log_folder_that_is_missing_is_one_line(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    done = command(
        draw({"Fig": 3}), tmp_path / "out", PYSPARK_SUBMIT_ARGS=with_event_log(tmp_path / "no")
    )
    assert done.returncode == 2
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith("fruits: spark: ")
    assert f"{tmp_path}/no" in last
    assert "Traceback" not in done.stderr


def test_a_run_with_an_event_log_does_not_write_its_listing_into_it(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    root = draw({"Fig": 3})
    done = command(root, tmp_path / "out", PYSPARK_SUBMIT_ARGS=with_event_log(log))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "run.json").read_text())["counts"]["extracted"] == 3
    [written] = [file.read_text() for file in log.rglob("*") if file.is_file()]
    assert "SparkListenerJobStart" in written
    assert "0_100.jpg" not in written
