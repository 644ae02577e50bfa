"""What a run has written and what its predictor says of the same files are the same bits."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from fruits.networks.graph import CompiledGraph
from fruits.predictor import Prediction, Predictor
from fruits.runs.config import RunConfig
from fruits.runs.pipeline import run
from fruits.sample import draw_sample


@pytest.mark.spark
@pytest.mark.usefixtures("graph")
def test_predictions_have_the_bits_of_the_run_and_neighbours_its_thumbnails(
    spark: SparkSession, graph: CompiledGraph, tmp_path: Path
) -> None:
    draw_sample(str(tmp_path / "images"), classes=3, per_class=12)
    output = tmp_path / "out"
    run(RunConfig(str(tmp_path / "images"), str(output), backbone="EfficientNetLite0"))
    said = pd.read_parquet(output / "predictions").sort_values("path")
    components = pd.read_parquet(output / "pca").sort_values("path")
    assert set(said["split"]) == {"train", "test"}

    predictor = Predictor.load(output)
    contents = [Path(path.removeprefix("file:")).read_bytes() for path in said["path"]]
    found = [one for one in predictor.predict_many(contents) if isinstance(one, Prediction)]

    assert [one.label for one in found] == said["predicted"].to_list()
    assert [one.unknown for one in found] == said["unknown"].to_list()
    bits = said["confidence"].dtype.type
    np.testing.assert_array_equal([bits(one.confidence) for one in found], said["confidence"])
    bits = said["distance"].dtype.type
    np.testing.assert_array_equal([bits(one.distance) for one in found], said["distance"])
    np.testing.assert_array_equal(
        np.stack([one.components for one in found]), np.stack(components["pca"].to_list())
    )
    trained = set(said["path"][said["split"] == "train"])
    for one in found:
        assert {neighbour.path for neighbour in one.neighbours} <= trained
        assert all((neighbour.thumbnail or b"")[:2] == b"\xff\xd8" for neighbour in one.neighbours)
    assert predictor.about["neighbours"] == len(trained)
