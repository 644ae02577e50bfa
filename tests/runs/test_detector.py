"""A run on the boxes that a detector finds, and everything that applies its model."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bright_fruit import (
    assert_rows_are_those_of_the_boxes,
    config,
    counts,
    draw,
    files,
    rows,
    wanted_boxes,
    write_fruit,
    write_nets,
)
from detectors import write_detector
from listings import find_images
from pyspark.sql import SparkSession

from fruits.errors import ConfigError, OutputError
from fruits.networks import batch
from fruits.networks.compile import compile_backbone
from fruits.planning.probe import probe
from fruits.predictor import Predictor
from fruits.runs.finished import Run
from fruits.runs.load_model import load_model
from fruits.runs.pipeline import run
from fruits.runs.predict import predict_config
from fruits.runs.summary import interruption
from fruits.sources import parts
from fruits.sources.boxes import box_of, fragment
from fruits.sources.parts import Parts
from fruits.spark.read_images import read_images


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = write_nets(tmp_path_factory.mktemp("nets"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "SECONDS", 0.01)
        yield root


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fruit(tmp_path_factory.mktemp("fruit"))


@pytest.fixture(scope="module")
def finished(
    spark: SparkSession, graph: Any, nets: Path, fruit: Path, tmp_path_factory: Any
) -> tuple[Run, Path]:
    output = tmp_path_factory.mktemp("boxes") / "out"
    return run(config(nets, fruit, output)), output


def test_each_box_is_a_row_with_the_features_of_pillows_crop(
    finished: tuple[Run, Path], nets: Path, fruit: Path
) -> None:
    result, output = finished
    assert_rows_are_those_of_the_boxes(output, nets, fruit)
    for name in ("pca", "predictions"):
        assert set(rows(output, name)["path"]) == set(wanted_boxes(fruit))
    assert list(counts(output).items()) == [
        *[("found", 13), ("extracted", 12), ("reused", 0), ("rejected", 1), ("boxes", 16)]
    ]
    [rejected] = rows(output, "rejected").itertuples()
    assert rejected.path.endswith("dark.png")
    assert rejected.error == "no object found"
    assert "12 extracted" in result.summary()
    assert "found 16 boxes in the photographs" in (output / "report.html").read_text()
    assert "1 rejected; 16 boxes;" in result.summary()
    assert "the features of 16 boxes are committed" in interruption(str(output), "boxes")
    [grouped] = [one for one in result.evaluations if "grouped" in one.scheme]
    assert grouped.images == 16


def test_the_predictor_has_one_prediction_for_each_box(
    finished: tuple[Run, Path], fruit: Path
) -> None:
    _, output = finished
    predictor = Predictor.load(output)
    assert predictor.finds_objects
    assert predictor.about["neighbours"] == 16
    table = rows(output, "predictions").set_index("path")
    pca = rows(output, "pca").set_index("path")["pca"]
    contents = [file.read_bytes() for file in files(fruit)]
    seen = 0
    for file, found in zip(files(fruit), predictor.predict_objects(contents), strict=True):
        if file.name == "dark.png":
            assert found == "no object found"
            continue
        assert not isinstance(found, str)
        for one in found:
            assert one.box is not None
            path = f"file:{file}{fragment(one.box)}"
            assert (one.label, one.confidence) == (
                table["predicted"][path],
                table["confidence"][path],
            )
            assert one.components.tobytes() == pca[path].tobytes()
            # The nearest training image is the box itself, with its own picture.
            assert one.neighbours[0].path == path
            seen += 1
    assert seen == 16
    with pytest.raises(ConfigError, match="call predict_objects"):
        predictor.predict(contents[0])


def test_the_application_refuses_a_model_with_a_detector_in_one_line(
    finished: tuple[Run, Path],
) -> None:
    _, output = finished
    command = [sys.executable, "-m", "fruits.cli", "serve", "--model", str(output), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.returncode == 2
    assert "with a detector, which may find several objects" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_saved_model_has_a_row_for_each_box(
    finished: tuple[Run, Path], fruit: Path, spark: SparkSession
) -> None:
    _, output = finished
    found = load_model(str(output)).transform(read_images(spark, str(fruit)))
    found = found.select("path", "box", "pca", "predictedLabel", "error").toPandas()
    [bad] = found[found["error"].notna()].itertuples()
    assert bad.path.endswith("dark.png")
    assert (bad.error, bad.pca, bad.box) == ("no object found", None, None)
    good = found[found["error"].isna()]
    theirs = good.set_index(good["path"] + good["box"]).sort_index()
    ours = rows(output, "pca")
    assert list(theirs.index) == list(ours["path"])
    assert list(theirs["predictedLabel"]) == list(rows(output, "predictions")["predicted"])
    pca = np.stack([row.toArray() for row in theirs["pca"]])
    np.testing.assert_allclose(np.stack(ours["pca"].to_list()), pca, rtol=1e-5, atol=1e-5)


def test_the_notebook_shows_the_boxes(finished: tuple[Run, Path]) -> None:
    result, output = finished
    pictures, _ = result.pictures(16, side=20)
    assert len(pictures) == 16
    assert all(picture.mean() > 120 for picture in pictures)
    paths = list(rows(output, "features")["path"][:3])
    assert all(box_of(path) for path in paths)
    assert list(result.pictures_of(paths)) == paths


@pytest.mark.slow
def test_the_plan_counts_the_boxes(nets: Path, fruit: Path, graph: Any) -> None:
    network = compile_backbone(str(nets / "colours"), crop=f"detector:{nets / 'halves'}")
    found = probe(Parts.of(find_images(str(fruit)).images), network)
    assert (found.images, found.rejected) == (13, 1)
    assert found.boxes == pytest.approx(16 / 12, abs=0.01)


def test_another_folder_is_predicted_with_the_detector_of_the_model(
    finished: tuple[Run, Path], nets: Path, fruit: Path, tmp_path: Path
) -> None:
    _, output = finished
    taken = predict_config(str(output), str(fruit), str(tmp_path / "other"))
    assert taken.crop == f"detector:{nets / 'halves'}"


def test_boxes_of_another_detector_are_not_mixed_in(
    finished: tuple[Run, Path], nets: Path, fruit: Path, tmp_path: Path
) -> None:
    _, output = finished
    stricter = write_detector(tmp_path / "halves", detector={"score": 0.8})
    for crop in (None, "centre", f"detector:{stricter}"):
        with pytest.raises(OutputError, match="has features of crop detector:"):
            run(config(nets, fruit, output, crop=crop))


def test_only_new_photographs_are_detected_and_boxes_are_dropped_with_their_photograph(
    finished: tuple[Run, Path], nets: Path, fruit: Path, tmp_path: Path
) -> None:
    images, output = tmp_path / "fruit", tmp_path / "out"
    shutil.copytree(fruit, images)  # to give all photographs other names
    shutil.copytree(finished[1], output)
    draw(images / "Lemon" / "0.png", 2, (230, 180), 50)  # one box before, two now
    (images / "Plum" / "1.png").unlink()
    (images / "Lemon" / "2.png").rename(images / "Lemon" / "renamed.png")
    shutil.copy(images / "Plum" / "2.png", images / "Plum" / "copied.png")
    first = config(nets, images, output, allow_removed=True)  # three are moved or changed
    run(first)
    assert list(counts(output).items()) == [
        *[("found", 13), ("extracted", 1), ("reused", 11), ("rejected", 1), ("boxes", 18)]
    ]
    assert_rows_are_those_of_the_boxes(output, nets, images)
    assert set(rows(output, "pca")["path"]) == set(wanted_boxes(images))
    again = run(first)
    assert again.session is None
    assert counts(output)["boxes"] == 18


def test_a_photograph_that_changes_drops_its_boxes_also_where_tables_are_in_parts(
    finished: tuple[Run, Path],
    nets: Path,
    fruit: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output, kept = tmp_path / "out", tmp_path / "kept"
    shutil.copytree(finished[1], output)
    shutil.copytree(fruit, kept)
    monkeypatch.setattr(parts, "IN_MEMORY", 5)
    monkeypatch.setattr(parts, "PART_ROWS", 3)
    try:
        draw(fruit / "Lemon" / "1.png", 2, (250, 20), 60)  # the other half
        (fruit / "Plum" / "3.png").unlink()
        result = run(config(nets, fruit, output, limit=10))
        found = result.report["counts"]
        assert (found["found"], found["extracted"], found["reused"]) == (10, 1, 9)
        assert (found["rejected"], found["boxes"]) == (0, len(rows(output, "pca")))
        # The features of photographs beyond the limit are kept.
        assert_rows_are_those_of_the_boxes(output, nets, fruit)
        used = set(rows(output, "pca")["path"])
        assert used < set(wanted_boxes(fruit))
        assert len({path.partition("#xywh")[0] for path in used}) == 10
    finally:
        shutil.copytree(kept, fruit, dirs_exist_ok=True)
