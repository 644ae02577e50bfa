import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from forms import as_parquet, as_table, as_tar, as_zip
from pyspark.sql import SparkSession

from fruits.features.writer import FeatureWriter
from fruits.networks.graph import CompiledGraph
from fruits.sources.open_source import open_source
from fruits.spark.workers import SparkWorkers
from fruits.storage.location import Location
from fruits.storage.lock import exclusive
from fruits.tasks.extract import Extraction, extract
from fruits.tasks.known import known_parts


def extracted(spark: SparkSession, graph: CompiledGraph, place: str, out: Path) -> Extraction:
    workers = SparkWorkers(spark)
    with exclusive(f"file:{out}/_lock") as lock:
        store = FeatureWriter(Location.of(f"{out}/features"), lock)
        known = known_parts(workers, store, ())
        images = open_source(place).found().images
        return extract(workers, images, known, graph, store, 7)


def as_binary_files(spark: SparkSession, root: Path, target: Path) -> Path:
    """The table of Spark's own source of files."""
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(str(root))
    files.coalesce(1).write.parquet(str(target))
    return target


def test_features_do_not_depend_on_the_kind_of_source(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Training/Apple": 5, "Test/Pêche é": 4})
    extracted(spark, graph, str(root), tmp_path / "folder")
    columns = ["label", "split", "sha256", "length"]
    wanted = pd.read_parquet(tmp_path / "folder" / "features").sort_values("path")
    forms = {
        "stored.zip": as_zip(root, tmp_path / "stored.zip", zipfile.ZIP_STORED),
        "deflated.zip": as_zip(root, tmp_path / "deflated.zip"),
        "a.tar": as_tar(root, tmp_path / "a.tar"),
        "a.csv": as_table(root, tmp_path / "a.csv"),
        "a.parquet": as_parquet(root, tmp_path / "a.parquet"),
        "binary files": as_binary_files(spark, root, tmp_path / "binary files"),
    }
    for name, place in forms.items():
        made = extracted(spark, graph, str(place), tmp_path / f"out {name}")
        assert (made.extracted, made.rejected.num_rows) == (9, 0)
        rows = pd.read_parquet(tmp_path / f"out {name}" / "features").sort_values("path")
        assert rows[columns].values.tolist() == wanted[columns].values.tolist()
        one, other = (np.stack(table["features"].to_list()) for table in (rows, wanted))
        np.testing.assert_array_equal(one.view(np.uint32), other.view(np.uint32))


def test_a_zip_of_a_known_folder_reuses_its_features(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Apple": 5})
    assert extracted(spark, graph, str(root), tmp_path / "out").extracted == 5
    new = draw({"Fig": 1}, "more", seed=7) / "Fig" / "0_100.jpg"
    new.rename(root / "Apple" / "new.jpg")
    (root / "Apple" / "bad.jpg").write_bytes(b"no image")
    place = as_zip(root, tmp_path / "fruit.zip")
    made = extracted(spark, graph, str(place), tmp_path / "out")
    assert (made.extracted, made.rejected.table()["path"].to_pylist()) == (
        1,
        [f"file:{place}!/images/Apple/bad.jpg"],
    )
    rows = pd.read_parquet(tmp_path / "out" / "features")
    assert len(rows) == 5 + 6
    assert len(set(rows["sha256"])) == 6
