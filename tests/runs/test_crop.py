"""A run whose network gets a part of each photograph, and everything that applies its model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from fruits.errors import ConfigError, OutputError
from fruits.networks.compile import compile_backbone
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import featurize
from fruits.predictor import Predictor
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.load_model import load_model
from fruits.runs.pipeline import run
from fruits.runs.predict import predict_config
from fruits.spark.read_images import read_images

COLOURS = {"Lemon": (230, 210, 40), "Plum": (120, 40, 140)}


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small discs with two colours, anywhere on grey; some photographs are stored rotated."""
    root = tmp_path_factory.mktemp("fruit")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :180]
    turned = Image.Exif()
    turned[274] = 8
    for label, colour in COLOURS.items():
        (root / label).mkdir()
        for number in range(6):
            pixels = rng.normal(128, 10, (120, 180, 1)).repeat(3, axis=2)
            column, row = rng.integers(25, 155), rng.integers(25, 95)
            pixels[(x - column) ** 2 + (y - row) ** 2 < 22**2] = colour
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            options = {"exif": turned} if number == 3 else {}
            picture.save(root / label / f"{number}.jpg", quality=92, **options)
    return root


@pytest.fixture(scope="module")
def finished(
    spark: SparkSession,
    graph: CompiledGraph,
    fruit: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Run, Path]:
    output = tmp_path_factory.mktemp("cropped") / "out"
    return run(config(fruit, output, crop="saliency")), output


def config(images: Path, output: Path, **options: Any) -> RunConfig:
    settings = {"backbone": "EfficientNetLite0", "components": 3, **options}
    return RunConfig(images=str(images), output=str(output), **settings)


def rows(output: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(output / name).sort_values("path", ignore_index=True)


def content_of(path: str) -> bytes:
    return Path(path.removeprefix("file:")).read_bytes()


def test_features_are_those_of_the_crop(finished: tuple[Run, Path]) -> None:
    _, output = finished
    found = rows(output, "features")
    contents = [content_of(path) for path in found["path"]]
    whole, part = (
        np.stack(list(featurize(contents, compile_backbone("EfficientNetLite0", crop=crop))))
        for crop in (None, "saliency")
    )
    np.testing.assert_array_equal(np.stack(found["features"].to_list()), part)
    assert np.abs(whole - part).max() > 0.1


def test_the_predictor_and_the_saved_model_use_the_same_crop(
    finished: tuple[Run, Path], fruit: Path, spark: SparkSession
) -> None:
    _, output = finished
    predicted, pca = rows(output, "predictions"), rows(output, "pca")
    predictor = Predictor.load(output)
    assert predictor.about["crop"] == "saliency"
    for number in (0, 3, 9):
        ours = predictor.predict(content_of(predicted["path"][number]))
        assert ours.components.tobytes() == pca["pca"][number].tobytes()
        assert (ours.label, ours.confidence) == (
            predicted["predicted"][number],
            predicted["confidence"][number],
        )
    model = load_model(str(output)).transform(read_images(spark, str(fruit)))
    columns = model.select("path", "pca").toPandas().sort_values("path", ignore_index=True)
    theirs = np.stack([row.toArray() for row in columns["pca"]])
    np.testing.assert_allclose(np.stack(pca["pca"].to_list()), theirs, rtol=1e-5, atol=1e-5)


def test_the_notebook_shows_the_crop(finished: tuple[Run, Path]) -> None:
    result, _ = finished
    pictures, labels = result.pictures(12, side=60)
    for picture, label in zip(pictures, labels, strict=True):
        share = (np.abs(picture.astype(int) - COLOURS[label]).max(axis=2) < 40).mean()
        assert share > 0.3


def test_features_of_another_crop_are_not_mixed_in(finished: tuple[Run, Path], fruit: Path) -> None:
    _, output = finished
    for crop in (None, "centre"):
        with pytest.raises(OutputError, match="has features of crop saliency; wanted crop"):
            run(config(fruit, output, crop=crop))
    with pytest.raises(ConfigError, match=r"was made with crop saliency; got crop \(default\)"):
        run(config(fruit, output.parent / "other", model=str(output)))


def test_another_folder_is_predicted_with_the_crop_of_the_model(
    finished: tuple[Run, Path], fruit: Path
) -> None:
    _, output = finished
    taken = predict_config(str(output), str(fruit), str(output.parent / "other"))
    assert taken.crop == "saliency"
    assert json.loads((output / "run.json").read_text())["parameters"]["crop"] == "saliency"
    assert json.loads((output / "features" / "_backbone.json").read_text())["crop"] == "saliency"
