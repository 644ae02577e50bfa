import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from small_pictures import draw_pictures

from fruits.errors import OutputError
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.load_model import load_model
from fruits.runs.pipeline import run
from fruits.spark.read_images import read_images


@pytest.fixture(scope="module")
def finished(
    spark: SparkSession, graph: CompiledGraph, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with ``images`` and the output of a run, which no test changes."""
    folder = tmp_path_factory.mktemp("finished")
    images = draw_pictures(folder / "images", {"=1+1": 3, "Fig": 3})
    options = {"backbone": "EfficientNetLite0", "transform": "sqrt-l2"}  # the most stages
    run(RunConfig(images=str(images), output=str(folder / "o[u]t"), **options))
    return folder


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of that output."""
    return shutil.copytree(finished / "o[u]t", tmp_path / "o[u]t")


def test_the_model_that_a_run_wrote_is_loaded(
    spark: SparkSession, finished: Path, out: Path
) -> None:
    images = read_images(spark, str(finished / "images"))
    rows = load_model(str(out)).transform(images).select("path", "pca").toPandas()
    assert sorted(rows["path"]) == sorted(pd.read_parquet(out / "pca")["path"])


def test_a_model_that_was_changed_is_refused(spark: SparkSession, out: Path) -> None:
    stage = next((out / "model" / "stages").glob("*PathToLabel*/metadata/part-*"))
    whole = stage.read_bytes()
    stage.write_bytes(whole.replace(b"fruits.spark.ml_stages.PathToLabel", b"os.path"))
    with pytest.raises(OutputError, match=r"part-.* is not the file that the run wrote"):
        load_model(str(out))
    stage.write_bytes(whole)
    added = stage.with_name("part-00001")
    added.write_text("{}")
    with pytest.raises(OutputError, match=r"part-00001 is not the file that the run wrote"):
        load_model(str(out))
    added.unlink()
    next((out / "model" / "stages").glob("*PCA*/data/*.parquet")).unlink()
    with pytest.raises(OutputError, match=r"parquet is not the file that the run wrote"):
        load_model(str(out))


def test_a_class_that_no_run_saves_is_refused_even_with_right_digests(
    spark: SparkSession, out: Path
) -> None:
    """Users who can write the model can also write run.json, which has the digests."""
    import hashlib

    stage = next((out / "model" / "stages").glob("*PathToLabel*/metadata/part-*"))
    metadata = json.loads(stage.read_bytes()) | {"class": "antigravity.Model"}
    stage.write_text(json.dumps(metadata))
    report = json.loads((out / "run.json").read_text())
    report["sha256"][str(stage.relative_to(out))] = hashlib.sha256(stage.read_bytes()).hexdigest()
    (out / "run.json").write_text(json.dumps(report))
    with pytest.raises(OutputError, match=r"names the class 'antigravity\.Model'"):
        load_model(str(out))


def test_a_label_is_no_formula_in_the_csv_and_unchanged_elsewhere(
    spark: SparkSession, out: Path
) -> None:
    csv = pd.read_csv(out / "pca.csv")
    assert sorted(set(csv["label"])) == ["'=1+1", "Fig"]
    assert set(pd.read_parquet(out / "pca")["label"]) == {"=1+1", "Fig"}
