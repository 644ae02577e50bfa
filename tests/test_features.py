import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from fruits import features
from fruits.engines import CompiledGraph, featurize
from fruits.features import FEATURES, REJECTED, extract
from fruits.images import list_images

LABELS = {"Apple Red 1": 9, "Pêche #1 50%": 9, "v1.2": 5}


def test_features_are_the_same_bit_for_bit_whatever_the_partitions_and_chunks(
    spark: SparkSession,
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = list_images(str(draw(LABELS)))
    paths = [path.removeprefix("file:") for path in listing["path"].to_pylist()]
    one_by_one = [next(featurize([Path(path).read_bytes()], graph)) for path in paths]
    for number, (size, chunk) in enumerate([(256, 10_000), (3, 10_000), (4, 7), (256, 1)]):
        monkeypatch.setattr(features, "IMAGES_PER_PARTITION", size)
        rejected = extract(spark, listing, graph, str(tmp_path / f"out{number}"), chunk)
        assert rejected.num_rows == 0
        table = pd.read_parquet(tmp_path / f"out{number}").sort_values("path")
        np.testing.assert_array_equal(np.stack(table["features"].to_list()), one_by_one)


def test_rows_tell_where_features_come_from(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    listing = list_images(str(draw(LABELS)))
    extract(spark, listing, graph, str(tmp_path / "out"), 10)
    rows = spark.read.parquet(str(tmp_path / "out")).orderBy("path").toArrow()
    assert rows.schema.names == FEATURES.names
    for name in listing.schema.names:
        assert rows[name].to_pylist() == listing[name].to_pylist()
    for path, digest in zip(rows["path"].to_pylist(), rows["sha256"].to_pylist(), strict=True):
        content = Path(path.removeprefix("file:")).read_bytes()
        assert digest == hashlib.sha256(content).hexdigest()


def test_images_without_features_come_back_with_their_reasons(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Plum": 20, "Fig": 3})
    (root / "Plum" / "3_100.jpg").write_bytes(b"")
    (root / "Plum" / "5_100.jpg").write_text("no picture")
    whole = (root / "Plum" / "7_100.jpg").read_bytes()
    (root / "Plum" / "7_100.jpg").write_bytes(whole[: len(whole) // 2])
    listing = list_images(str(root))
    (root / "Plum" / "9_100.jpg").unlink()

    rejected = extract(spark, listing, graph, str(tmp_path / "out"), 8)

    assert rejected.schema == REJECTED
    reasons = {Path(row["path"]).name: row["error"] for row in rejected.to_pylist()}
    assert set(rejected["label"].to_pylist()) == {"Plum"}
    assert reasons.keys() == {"3_100.jpg", "5_100.jpg", "7_100.jpg", "9_100.jpg"}
    assert reasons["3_100.jpg"].startswith("not an image: empty")
    assert reasons["5_100.jpg"].startswith("not an image: ")
    assert reasons["7_100.jpg"].startswith("damaged: ")
    assert "truncated" in reasons["7_100.jpg"]
    assert reasons["9_100.jpg"].startswith("unreadable: ")
    committed = pd.read_parquet(tmp_path / "out")["path"]
    assert set(committed) | set(rejected["path"].to_pylist()) == set(listing["path"].to_pylist())
    assert len(committed) == 19


def test_a_chunk_in_which_every_image_is_bad_is_no_obstacle(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 4})
    for file in (root / "Fig").iterdir():
        file.write_text("no picture")
    rejected = extract(spark, list_images(str(root)), graph, str(tmp_path / "out"), 10)
    assert rejected.num_rows == 4
    assert spark.read.parquet(str(tmp_path / "out")).count() == 0


def test_progress_ends_with_all_files(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    told: list[int] = []
    listing = list_images(str(draw({"Fig": 9})))
    extract(spark, listing, graph, str(tmp_path / "out"), 4, told.append)
    assert told == sorted(told)
    assert told[-1] == 9


def test_nothing_to_extract_is_nothing_written(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    listing = list_images(str(draw({"Fig": 1}))).slice(0, 0)
    assert extract(spark, listing, graph, str(tmp_path / "out"), 4).equals(REJECTED.empty_table())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("images", "slots", "partitions"), [(1, 2, 1), (5, 2, 2), (1260, 2, 6), (10_000, 16, 48)]
)
def test_partitions_hold_a_few_hundred_images_in_whole_rounds(
    images: int, slots: int, partitions: int
) -> None:
    assert features._partitions(images, slots) == partitions


def test_workers_load_no_tensorflow(
    spark: SparkSession, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    def loaded(batches: object) -> object:
        import sys

        list(batches)  # type: ignore[call-overload]
        names = sorted({"tensorflow", "keras", "matplotlib", "openvino"} & sys.modules.keys())
        yield pa.record_batch({"names": [",".join(names)]})

    extract(spark, list_images(str(draw({"Fig": 4}))), graph, str(tmp_path / "out"), 4)
    rows = spark.range(0, 4, 1, 2).mapInArrow(loaded, "names string").collect()
    assert "openvino" in {row.names for row in rows}
    assert {row.names for row in rows} <= {"openvino", ""}
