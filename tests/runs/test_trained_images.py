"""The images that a model was fitted to are known, whatever is in its folder of features."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import without_java
from sklearn.dummy import DummyClassifier  # type: ignore[import-untyped]
from sklearn.metrics import accuracy_score, log_loss  # type: ignore[import-untyped]
from sklearn.neighbors import NearestCentroid  # type: ignore[import-untyped]

from fruits.networks.graph import CompiledGraph
from fruits.runs import trained_images
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.pipeline import run
from fruits.runs.predict import predict_config
from fruits.runs.trained_images import TrainedImages
from fruits.storage.location import Location

Draw = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_java(monkeypatch: pytest.MonkeyPatch, graph: CompiledGraph) -> None:
    without_java(monkeypatch)


def go(images: Path, output: Path, **options: Any) -> Run:
    settings = {"backbone": "EfficientNetLite0", "csv": False, **options}
    return run(RunConfig(images=str(images), output=str(output), **settings))


def predict(model: Path, images: Path, output: Path) -> Run:
    return run(predict_config(str(model), str(images), str(output), csv=False))


def identical(result: Run) -> dict[str, int | None]:
    return {one.scheme: one.identical for one in result.evaluations}


def test_images_that_were_added_after_the_fit_are_not_training_images(
    draw: Draw, tmp_path: Path
) -> None:
    images, out = draw({"Fig": 6, "Lime": 6}), tmp_path / "out"
    go(images, out)
    draw({"Fig/more": 4, "Lime/more": 4}, seed=1)
    result = go(images, out, model=str(out), label=r"/(?P<label>Fig|Lime)/")
    assert result.report["counts"]["extracted"] == 8
    assert identical(result) == {"images given": 12}
    assert "20 images" in result.summary()
    assert "; 12 are equal to training images, byte for byte" in result.summary()
    # The predictor, which lists them, was copied: another run finds the same.
    again = predict(out, images, tmp_path / "again")
    assert identical(again) == {"images given": 12}


def test_images_that_a_limit_left_out_are_not_training_images(draw: Draw, tmp_path: Path) -> None:
    images, out = draw({"Fig": 9, "Lime": 9}), tmp_path / "out"
    go(images, out)
    fitted = go(images, out, limit=10).report["classifier"]["training_images"]
    assert fitted == 10
    result = predict(out, images, tmp_path / "predicted")
    assert identical(result) == {"images given": 10}


def test_the_baselines_of_a_prediction_are_those_of_scikit_learn(
    draw: Draw, tmp_path: Path
) -> None:
    out, given = tmp_path / "out", draw({"Fig": 4, "Lime": 3}, "given", seed=1)
    go(draw({"Fig": 9, "Lime": 6}), out, transform="none")
    predict(out, given, tmp_path / "predicted")
    # The model of a prediction is a copy.
    result = predict(tmp_path / "predicted", given, tmp_path / "again")
    (one,) = result.evaluations
    train, test = (pd.read_parquet(f / "features") for f in (out, tmp_path / "again"))
    x, z = (np.stack(rows["features"].to_list()).astype(float) for rows in (train, test))
    nearest = NearestCentroid().fit(x, train["label"])
    assert one.nearest_mean == accuracy_score(test["label"], nearest.predict(z))
    prior = DummyClassifier(strategy="prior").fit(x, train["label"])
    assert one.prior_log_loss == pytest.approx(log_loss(test["label"], prior.predict_proba(z)))
    assert f"nearest mean: {one.nearest_mean:.1%}" in result.summary()
    assert f"(label frequencies: {one.prior_log_loss:.3f})" in result.summary()
    # A model of an earlier version has no such file.
    (out / "model" / "_basis.baselines").unlink()
    (old,) = predict(out, given, tmp_path / "old").evaluations
    assert (old.nearest_mean, old.prior_log_loss) == (None, None)
    assert old.accuracy == one.accuracy


def test_the_images_of_an_earlier_prediction_are_not_training_images(
    draw: Draw, tmp_path: Path
) -> None:
    first, out = draw({"Fig": 6, "Lime": 6}), tmp_path / "out"
    go(first, out)
    given = draw({"Fig": 3, "Lime": 3}, "given", seed=1)
    copy = shutil.copy(first / "Fig" / "0_100.jpg", given / "Fig" / "copy.jpg")
    predict(out, given, tmp_path / "predicted")
    moved = shutil.copytree(given, tmp_path / "moved")
    result = predict(tmp_path / "predicted", moved, tmp_path / "again")
    assert identical(result) == {"images given": 1}
    found = pd.read_parquet(tmp_path / "again" / "quality").query("kind == 'split duplicate'")
    assert found["path"].tolist() == [f"file:{moved}/Fig/{Path(copy).name}"]
    assert found["other"].tolist() == [f"file:{first}/Fig/0_100.jpg"]
    assert "the model was trained on" in found["reason"].item()
    # The report shows both, although the features of the training images are elsewhere.
    page = (tmp_path / "again" / "report.html").read_text()
    section = page[page.index('id="split-duplicate"') :].partition("</section>")[0]
    assert section.count("<img") == 2


def test_without_a_complete_list_it_is_not_known_how_many_are_training_images(
    draw: Draw, tmp_path: Path
) -> None:
    images, out = draw({"Fig": 6, "Lime": 6}), tmp_path / "out"
    go(images, out)
    shutil.rmtree(out / "predictor")
    result = predict(out, images, tmp_path / "predicted")
    assert identical(result) == {"images given": None}
    assert "it is not known how many are equal to training images" in result.summary()
    reason = result.report["quality"]["skipped"]["split duplicate"]
    assert "which does not list all of them" in reason


def test_the_training_images_are_read_with_their_thumbnails(
    draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_images, "_BATCH", 5)
    out = tmp_path / "out"
    go(draw({"Fig": 6, "Lime": 6}), out)
    place = Location.of(str(out))
    assert TrainedImages.of(place, 13) is None  # A sample lists fewer images than there were.
    trained = TrainedImages.of(place, 12)
    assert trained
    rows = trained.dataset().to_table().to_pandas()
    features = pd.read_parquet(out / "features").sort_values("path", ignore_index=True)
    pd.testing.assert_frame_equal(rows.drop(columns="split"), features[["path", "label", "sha256"]])
    batches = list(trained.thumbnails())
    assert max(map(len, batches)) <= 5
    pictures = {row["sha256"]: row["thumbnail"] for one in batches for row in one.to_pylist()}
    stored = pd.read_parquet(out / "features" / "_thumbnails").set_index("sha256")["thumbnail"]
    assert pictures == stored.to_dict()
    (out / "predictor" / "neighbours.parquet").write_bytes(np.zeros(9).tobytes())
    assert TrainedImages.of(place, 12) is None
