"""Whole runs on images that are not in a folder."""

import csv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from forms import as_tar, as_zip
from prepared import prepared
from pyspark.sql import SparkSession

from fruits.errors import InputError
from fruits.networks.graph import CompiledGraph
from fruits.runs.checks import require_most
from fruits.runs.config import RunConfig
from fruits.runs.pipeline import Run, run
from fruits.sources.open_source import open_source


@pytest.mark.parametrize("make", [as_zip, as_tar])
def test_packed_images_are_recognised_as_those_of_earlier_runs(
    draw: Callable[..., Path], tmp_path: Path, make: Callable[[Path, Path], Path]
) -> None:
    root, out = draw({"Apple": 6, "Fig": 6}), str(tmp_path / "out")
    known = open_source(str(root)).found().images
    place = str(make(root, tmp_path / f"a.{make.__name__[3:]}"))
    require_most(known, open_source(place).found().images, RunConfig(images=place, output=out))
    (root / "Apple").rename(tmp_path / "gone")
    place = str(make(root, tmp_path / f"b.{make.__name__[3:]}"))
    with pytest.raises(InputError, match=r"6 of 12 are not in .*/b\."):
        require_most(known, open_source(place).found().images, RunConfig(images=place, output=out))


def test_an_archive_of_archives_is_refused_in_one_line(
    graph: CompiledGraph, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("apples.zip", b"PK")
        archive.writestr("README.txt", b"")
    place = str(tmp_path / "all.zip")
    wanted = RunConfig(images=place, output=f"{tmp_path}/out", backbone="EfficientNetLite0")
    with pytest.raises(InputError, match=r"none in .*all.zip, which has 1 .txt, 1 .zip: extr"):
        prepared(wanted)


def test_a_run_on_archives_has_the_results_of_their_folder_and_reuses_features(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root, out = draw({"Apple": 9, "Fig": 9}), tmp_path / "out"

    def go(images: str) -> Run:
        config = RunConfig(
            images=images, output=str(out), backbone="EfficientNetLite0", components=3
        )
        return run(config)

    def components() -> pd.DataFrame:
        rows = pd.read_parquet(out / "pca")
        rows["name"] = rows["path"].str.extract(r"([^/]+/[^/]+)$", expand=False)
        return rows.sort_values("name")

    go(str(root))
    before = components()
    with_groups = tmp_path / "table.csv"
    with with_groups.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        for number in range(9):
            writer.writerow([f"{root}/Fig/{number}_100.jpg", "Fig", f"tree {number % 3}"])
    apples = as_zip(root / "Apple", tmp_path / "apples.zip")
    made = go(f"{apples},{with_groups}")
    assert made.report["counts"]["found"] == made.report["counts"]["reused"] == 18
    after = components()
    assert after["label"].tolist() == before["label"].tolist()
    np.testing.assert_array_equal(np.stack(after["pca"]), np.stack(before["pca"]))
    assert f"file:{apples}!/Apple/0_100.jpg" in after["path"].tolist()
    pixels, labels = made.pictures(6)
    assert len(pixels) == 6
    assert set(labels) == {"Apple", "Fig"}
    assert "by the groups in the source" in made.report["classifier"]["groups"]
