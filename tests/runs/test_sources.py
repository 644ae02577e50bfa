"""Whole runs on images that are not in a folder."""

import csv
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from forms import as_tar, as_zip
from prepared import prepared
from pyspark.sql import SparkSession

from fruits.errors import InputError
from fruits.networks.graph import CompiledGraph
from fruits.runs.checks import require_most
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.pipeline import run
from fruits.sources import parts
from fruits.sources.listing import LISTING
from fruits.sources.open_source import open_source
from fruits.sources.parts import Parts
from fruits.sources.spread import divide, gather


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


@pytest.mark.parametrize("above", ["above", "two\nlines"])
def test_images_of_a_moved_folder_are_not_missing_whatever_the_name_above(
    draw: Callable[..., Path], tmp_path: Path, above: str
) -> None:
    root = draw({"Apple": 3, "Fig": 3}, above)
    known = open_source(str(root)).found().images
    (root / "Apple").rename(root / "Moved")
    listed = open_source(str(root)).found().images
    require_most(known, listed, RunConfig(images=str(root), output=str(tmp_path / "out")))


def files(paths: list[str], rng: np.random.Generator) -> pa.Table:
    """Files with few different lengths and times."""
    lengths, times = rng.integers(5, size=(2, len(paths)))
    columns = [pa.array(paths), pa.array(lengths), pa.array(times).cast(LISTING.field(4).type)]
    return pa.table(columns, ["path", "length", "modified"])


def marks(table: pa.Table, those: pa.Table) -> Counter[Any]:
    """The name, length and time of each file that is not among those."""
    others = set(those["path"].to_pylist())
    rows = [row for row in table.to_pylist() if row["path"] not in others]
    return Counter((row["path"][-1], row["length"], row["modified"]) for row in rows)


@pytest.mark.parametrize("seed", range(5))
def test_each_new_image_explains_one_missing_image_with_its_name_length_and_time(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(parts, "IN_MEMORY", 30)
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    rng = np.random.default_rng(seed)
    names = [f"{folder}/{name}" for folder in range(90) for name in "abc"]
    known = files(sorted(rng.choice(names, 100, replace=False)), rng)
    listed = files(sorted(rng.choice(names, 90, replace=False)), rng)
    divided = gather([known], known.schema)
    assert len(divided.rows) > 5
    missing = (marks(known, listed) - marks(listed, known)).total()
    with pytest.raises(InputError, match=f"; {missing} of 100 are not in /images,"):
        require_most(
            divided,
            divide(Parts.of(listed), divided.bounds),
            RunConfig(images="/images", output="/out"),
        )


def test_missing_images_that_the_new_ones_cannot_explain_are_only_counted() -> None:
    rng = np.random.default_rng(0)
    known = files([f"old/{number}" for number in range(50)], rng)
    listed = files(["old/0", "new/1", "new/2"], rng)
    with pytest.raises(InputError, match="; at least 47 of 50 are not in /images,"):
        require_most(Parts.of(known), Parts.of(listed), RunConfig(images="/images", output="/out"))


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
