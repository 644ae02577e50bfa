import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as pads
import pytest
from numpy.typing import NDArray
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler
from small_pictures import draw_pictures

from fruits.errors import BackboneError, ConfigError, InputError, OutputError
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import what_ran
from fruits.runs import publish, steps
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.pipeline import run
from fruits.runs.predict import predict_config
from fruits.spark.read_images import read_images
from fruits.storage.location import Location
from fruits.storage.lock import exclusive
from fruits.tasks import commits

LABELS = {"Apple Red 1": 14, "Pêche #1 50%": 13, "v1.2": 9}

pytestmark = pytest.mark.usefixtures("spark", "graph")


SETTINGS = {"backbone": "EfficientNetLite0", "classifier": "none"}


@pytest.fixture(scope="module")
def small(spark: SparkSession, graph: CompiledGraph, tmp_path_factory: Any) -> Path:
    """A folder with six ``images`` and the finished output ``out``, which tests do not change."""
    folder: Path = tmp_path_factory.mktemp("small")
    images = draw_pictures(folder / "images", {"Fig": 6})
    run(RunConfig(images=str(images), output=str(folder / "out"), components=2, **SETTINGS))  # type: ignore[arg-type]
    return folder


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> dict[str, Any]:
    """The options of a run that continues a copy of this output, in ``tmp_path / "out"``."""
    shutil.copytree(small / "out", tmp_path / "out")
    return {"images": str(small / "images"), "components": 2}


@pytest.fixture
def go(tmp_path: Path) -> Callable[..., Run]:
    """Runs the pipeline on tmp_path/images with the small pretrained backbone.

    It has no classifier, because that would double the time; test_classify.py tests classifiers.
    """

    def go(**options: Any) -> Run:
        settings = {
            "images": str(tmp_path / "images"),
            "output": str(tmp_path / "out"),
            **SETTINGS,
            **options,
        }
        return run(RunConfig(**settings))

    return go


def test_a_run_writes_the_whole_layout(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path, graph: CompiledGraph
) -> None:
    root = draw(LABELS)
    (root / "v1.2" / "0_100.jpg").write_text("no picture")
    for name in ("notes.txt", "v1.2/more.TXT", "v1.2/.hidden.jpg"):
        (root / name).write_text("no image")
    result = go(classifier="lda")

    out = tmp_path / "out"
    names = [
        *("_fruits.json", "features", "model", "pca", "pca.csv", "plots", "predictions"),
        *("predictor", "quality", "rejected", "report.html", "run.json"),
    ]
    assert sorted(path.name for path in out.iterdir()) == names
    features = pd.read_parquet(out / "features")
    columns = ["path", "label", "split", "sha256", "length", "modified", "features"]
    assert features.columns.tolist() == columns
    assert features["features"].map(len).unique().tolist() == [1280]
    assert features["features"][0].dtype == np.float32
    assert set(features["label"]) == set(LABELS)
    rejected = pd.read_parquet(out / "rejected")
    assert rejected.columns.tolist() == ["path", "label", "error"]
    assert rejected["path"].tolist() == [f"file:{root}/v1.2/0_100.jpg"]
    pca = pd.read_parquet(out / "pca")
    assert pca.columns.tolist() == ["path", "label", "split", "pca"]
    for name in ("scree.png", "pc1_pc2.png", "confusion.png", "calibration.png"):
        assert (out / "plots" / name).read_bytes().startswith(b"\x89PNG")

    assert result.summary().splitlines()[-1].split() == ["report", (out / "report.html").as_uri()]
    page = (out / "report.html").read_text()
    for count in ("36</strong> found", "35</strong> extracted", "0</strong> reused"):
        assert f"<strong>{count}" in page
    assert "<strong>1</strong> rejected" in page
    assert '<tr><th scope="row">.txt</th><td class="n">2</td></tr>' in page
    assert "35 of 35</span> points have a thumbnail" in page
    assert len(page) < 6_000_000

    report = json.loads((out / "run.json").read_text())
    assert report == result.report
    passed_over = report["counts"].pop("passed_over")
    assert report["counts"] == {"found": 36, "extracted": 35, "reused": 0, "rejected": 1}
    assert passed_over == {".txt": 2, "hidden": 1}
    assert "other files, skipped: 2 .txt, 1 hidden" in result.summary().splitlines()[0]
    assert report["parameters"]["images"] == str(root)
    stages = {"session", "compile", "extract", "fit", "classify", "project", "predictor"}
    stages |= {"plots", "report", "model", "total"}
    assert stages <= report["seconds"].keys()
    assert report["spark"] == {"master": "local[2]", "executors": 1}
    assert len(report["explained_variance"]) == report["components"] == len(pca["pca"][0])
    assert sum(report["explained_variance"]) >= 0.97 > sum(report["explained_variance"][:-1])
    assert report["weights_sha256"] == graph.weights_sha256
    assert report["images_per_second"] > 0
    assert report["ran"] == [what_ran(graph)]
    assert {"pyspark", "openvino", "keras", "python"} <= report["versions"].keys()


def test_components_are_those_of_scikit_learn(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw(LABELS)
    report = go(components=12).report
    features = pd.read_parquet(tmp_path / "out" / "features").sort_values("path")
    ours = pd.read_parquet(tmp_path / "out" / "pca").sort_values("path")
    scaled = MinMaxScaler().fit_transform(stacked(features["features"]).astype(np.float64))
    theirs = PCA(12, svd_solver="full").fit(scaled)
    np.testing.assert_allclose(
        report["explained_variance"], theirs.explained_variance_ratio_, rtol=1e-6
    )
    expected = scaled @ theirs.components_.T  # Spark's PCA does not centre the rows.
    actual = stacked(ours["pca"])
    expected *= np.sign((expected * actual).sum(axis=0))
    np.testing.assert_allclose(actual, expected, atol=1e-6 * np.abs(expected).max())

    csv = pd.read_csv(tmp_path / "out" / "pca.csv", dtype={"label": str}).sort_values("path")
    assert csv.columns.tolist() == ["path", "label", *(f"pc{n}" for n in range(1, 13))]
    assert csv["label"].tolist() == ours["label"].tolist()
    np.testing.assert_array_equal(csv.iloc[:, 2:].to_numpy(np.float32), actual)


def test_the_saved_model_gives_the_same_components_in_a_new_process(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw(LABELS)
    go(scaler="standard", components=5)
    # In another folder and without weights, only the saved model can compute the features.
    code = """
import sys
from pyspark.ml import PipelineModel
from fruits.spark.read_images import read_images
from fruits.spark.session import get_spark
spark = get_spark()
model = PipelineModel.load(sys.argv[1] + "/out/model")
rows = model.transform(read_images(spark, sys.argv[1] + "/images"))
rows.select("path", "label", "labelIndex", "pca").toPandas().to_pickle(sys.argv[1] + "/new.pkl")
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=tmp_path)
    new = pd.read_pickle(tmp_path / "new.pkl").sort_values("path")
    old = pd.read_parquet(tmp_path / "out" / "pca").sort_values("path")
    assert new["path"].tolist() == old["path"].tolist()
    assert new["label"].tolist() == old["label"].tolist()
    assert new.groupby("label")["labelIndex"].unique().map(len).eq(1).all()
    components = stacked(old["pca"])
    same = np.stack([vector.toArray() for vector in new["pca"]])
    np.testing.assert_allclose(same, components, atol=1e-6 * np.abs(components).max())


def test_a_second_run_reuses_the_features_and_gives_the_same_results(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw(LABELS)
    first = go().report
    before = results(tmp_path)
    csv = (tmp_path / "out" / "pca.csv").read_bytes()
    (tmp_path / "out" / "pca.csv").unlink()  # so that the run has work to do
    second = go().report
    assert "checked" not in second
    assert (tmp_path / "out" / "pca.csv").read_bytes() == csv
    assert second["counts"] == {"found": 36, "extracted": 0, "reused": 36, "rejected": 0}
    assert second["images_per_second"] == 0
    assert second["explained_variance"] == first["explained_variance"]
    for table, old in results(tmp_path).items():
        pd.testing.assert_frame_equal(old, before[table])


def test_changed_images_give_what_a_fresh_run_gives(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw(LABELS)
    go(components=6)
    (root / "v1.2" / "1_100.jpg").unlink()
    shutil.copy(root / "v1.2" / "2_100.jpg", root / "v1.2" / "3_100.jpg")
    draw({"Quince": 5}, seed=1)
    (root / "Apple Red 1").rename(root / "Apple Red 2")
    counts = go(components=6).report["counts"]
    # 3_100.jpg now has the content of its neighbour, and the apples only have another name.
    assert counts == {"found": 40, "extracted": 5, "reused": 35, "rejected": 0}
    grown = results(tmp_path)
    go(components=6, overwrite=True)
    for name, fresh in results(tmp_path).items():
        assert fresh["path"].is_unique
        column = fresh.columns[-1]
        pd.testing.assert_frame_equal(grown[name].drop(columns=column), fresh.drop(columns=column))
        np.testing.assert_allclose(
            stacked(grown[name][column]), stacked(fresh[column]), rtol=1e-4, atol=1e-5
        )


def test_components_do_not_depend_on_commits_or_clock(
    go: Callable[..., Run],
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commits, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(commits, "TASK_SECONDS", 0.05)
    monkeypatch.setattr(publish, "PLOTTED_IMAGES", 12)
    draw({"Lime": 14}, seed=1)
    go(chunk=5)
    draw({"Apple": 9, "Plum": 6}, seed=2)
    go(chunk=7)
    draw({"Fig": 5}, seed=3)
    go(chunk=1000)
    monkeypatch.undo()
    monkeypatch.setattr(publish, "PLOTTED_IMAGES", 12)
    once = go(output=str(tmp_path / "once"))
    out = tmp_path / "out"
    assert (out / "pca.csv").read_bytes() == (tmp_path / "once" / "pca.csv").read_bytes()
    tables = [pads.dataset(root / "pca").to_table() for root in (out, tmp_path / "once")]
    assert tables[0].combine_chunks().equals(tables[1].combine_chunks())
    paths = tables[0]["path"].to_pylist()
    assert paths == sorted(paths)
    assert len(paths) == once.report["counts"]["found"] == 34
    names = ("plots/scree.png", "plots/pc1_pc2.png")
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "once" / name).read_bytes()


def test_a_run_continues_after_it_was_killed(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw({f"Variety {n}": 15 for n in range(8)})
    arguments = ["--images", tmp_path / "images", "--output", tmp_path / "out", "--chunk", 8]
    arguments += ["--backbone", "EfficientNetLite0", "--classifier", "none"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fruits.cli", "run", *map(str, arguments)], start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out" / "features").glob("*.parquet"))) < 6:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "run.json").exists()

    counts = go(chunk=30).report["counts"]
    assert counts["found"] == 120
    assert 16 <= counts["reused"] < 120
    assert counts["extracted"] == 120 - counts["reused"]
    resumed = results(tmp_path)
    go(overwrite=True)
    for name, undisturbed in results(tmp_path).items():
        column = undisturbed.columns[-1]
        np.testing.assert_array_equal(stacked(resumed[name][column]), stacked(undisturbed[column]))
        assert resumed[name]["path"].tolist() == undisturbed["path"].tolist()


def test_too_many_rejects_fail_the_run_but_keep_the_other_features(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 10})
    for number in range(2):
        (root / "Fig" / f"{number}_100.jpg").write_text("no picture")
    with pytest.raises(InputError, match=r"at most 5.00%.*2 of 10 were.*rejected.*are kept"):
        go()
    assert len(pd.read_parquet(tmp_path / "out" / "features")) == 8
    assert len(pd.read_parquet(tmp_path / "out" / "rejected")) == 2
    assert not (tmp_path / "out" / "run.json").exists()
    counts = go(max_rejected=0.2).report["counts"]
    assert counts == {"found": 10, "extracted": 0, "reused": 8, "rejected": 2}


def test_a_failed_run_keeps_the_results_of_the_last_one(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 10})
    go()
    before, report = results(tmp_path), (tmp_path / "out" / "run.json").read_text()
    model = sorted((tmp_path / "out" / "model").rglob("*"))
    draw({"Lime": 10}, seed=1)
    for number in range(5):
        (root / "Lime" / f"{number}_100.jpg").write_text("no picture")
    with pytest.raises(InputError, match="5 of 20 were"):
        go()
    assert (tmp_path / "out" / "run.json").read_text() == report
    assert sorted((tmp_path / "out" / "model").rglob("*")) == model
    pd.testing.assert_frame_equal(results(tmp_path)["pca"], before["pca"])
    assert len(pd.read_parquet(tmp_path / "out" / "features")) == 15


def test_rejected_images_are_not_read_again_but_unreadable_ones_are(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 10})
    (root / "Fig" / "0_100.jpg").write_text("no picture")
    (root / "Fig" / "1_100.jpg").unlink()
    (root / "Fig" / "1_100.jpg").symlink_to(tmp_path / "gone")
    report = go(max_rejected=0.2).report
    assert report["counts"] == {"found": 10, "extracted": 8, "reused": 0, "rejected": 2}
    assert report["fingerprint"] is None  # so that the next run has work to do
    shutil.copy(root / "Fig" / "2_100.jpg", tmp_path / "gone")
    counts = go(max_rejected=0.2).report["counts"]
    assert counts == {"found": 10, "extracted": 0, "reused": 9, "rejected": 1}
    rejected = pd.read_parquet(tmp_path / "out" / "rejected")
    assert rejected["error"].str.startswith("not an image").tolist() == [True]


def test_a_reused_model_reduces_new_images_like_old_ones(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw({"Fig": 20})
    out = str(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"model: wanted .*finished run.*run without model first"):
        go(model=out)
    assert go(components=4).report["basis_turned_degrees"] is None
    before = results(tmp_path)["pca"]
    draw({"Lime": 12}, seed=1)
    kept = go(components=4, model=out).report
    after = results(tmp_path)["pca"]
    old = after[after["label"] == "Fig"].reset_index(drop=True)
    np.testing.assert_array_equal(stacked(old["pca"]), stacked(before["pca"]))
    assert len(after) == 32
    fitted = go(components=4).report
    # Both times, the old model is compared with one that would be fitted now.
    assert fitted["basis_turned_degrees"] == kept["basis_turned_degrees"]
    assert 1 < fitted["basis_turned_degrees"]["1"] <= 90
    assert go(components=4).report["basis_turned_degrees"]["10"] == pytest.approx(0, abs=1e-4)


def test_the_model_of_another_output_reduces_a_test_set_and_both_outputs_stay(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw({"Fig": 20, "Lime": 12})
    training = go(scaler="standard", components=4).reduction
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    test = draw({"Fig": 5}, folder="test", seed=7)
    options = {"model": str(tmp_path / "out"), "images": str(test)}
    config = predict_config(**options, output=str(tmp_path / "tested"), csv=False)
    report = run(config).report
    assert report["counts"] == {"found": 5, "extracted": 5, "reused": 0, "rejected": 0}
    assert (report["parameters"]["scaler"], report["components"]) == ("standard", 4)
    features = pd.read_parquet(tmp_path / "tested" / "features").sort_values("path")
    pca = pd.read_parquet(tmp_path / "tested" / "pca").sort_values("path")
    # Computed here from the training rows only, without any row of the test set.
    rows = stacked(pd.read_parquet(tmp_path / "out" / "features")["features"]).astype(np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0, ddof=1)
    varying = deviation > 0
    scaled = (stacked(features["features"]) - mean)[:, varying] / deviation[varying]
    np.testing.assert_allclose(stacked(pca["pca"]), scaled @ training.axes[varying], atol=1e-4)
    after = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert after == before
    # One image is enough, and an output made with a model contains the same model.
    again = predict_config(
        model=str(tmp_path / "tested"),
        images=str(draw({"Kiwi": 1}, folder="one", seed=8)),
        output=str(tmp_path / "one-out"),
    )
    np.testing.assert_array_equal(run(again).reduction.weights, training.weights)


def test_a_model_of_other_settings_is_refused_in_one_line(
    go: Callable[..., Run], small: Path, tmp_path: Path
) -> None:
    other = {"images": str(small / "images"), "model": str(small / "out")}
    other["output"] = str(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"model: .*made with weights_sha256 .*; got weights_sha"):
        go(**other, weights="random")
    with pytest.raises(ConfigError, match=r"precision f32; got precision bf16"):
        go(**other, precision="bf16")
    with pytest.raises(ConfigError, match=r"components: wanted 2, as in the model of .*; got 3"):
        go(**other, components=3)
    with pytest.raises(ConfigError, match=r"scaler: wanted minmax, as in .*; got none"):
        go(**other, scaler="none")
    assert not (tmp_path / "other").exists()


def test_a_model_that_is_fitted_again_during_a_run_is_not_mixed_with_the_old_one(
    go: Callable[..., Run],
    copied: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw_plots = steps.draw_plots

    def meanwhile(*arguments: Any) -> None:
        settings = tmp_path / "out" / "model" / "_basis.json"
        settings.write_text(settings.read_text().replace("minmax", "standard"))
        draw_plots(*arguments)

    monkeypatch.setattr(steps, "draw_plots", meanwhile)
    options = copied | {"model": str(tmp_path / "out"), "output": str(tmp_path / "other")}
    with pytest.raises(OutputError, match=r"model: wanted .*out when.*fitted again .*: run again"):
        go(**options)
    assert not (tmp_path / "other" / "run.json").exists()
    monkeypatch.undo()
    assert go(**options).report["parameters"]["scaler"] == "standard"


@pytest.mark.parametrize("name", ["_basis.json", "_basis.moments"])
def test_a_damaged_model_is_one_line_that_names_the_file(
    go: Callable[..., Run], copied: dict[str, Any], tmp_path: Path, name: str
) -> None:
    (tmp_path / "out" / "model" / name).write_bytes(b"{\x1b[31m")
    with pytest.raises(OutputError, match=rf"model/{name} is damaged .*delete it.*run again") as e:
        go(**copied | {"model": str(tmp_path / "out"), "output": str(tmp_path / "other")})
    assert str(e.value).isprintable()


def test_a_listing_without_many_known_images_drops_none_unless_allowed(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw({"Fig": 20, "Lime": 5})
    go()
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*.parquet")}
    wrong = draw({"Fig": 25}, folder="wrong", seed=3)
    with pytest.raises(InputError, match=r"25 of 25 are not in .*wrong.*with allow_removed"):
        go(images=str(wrong))
    # One folder of two is missing, as in an incomplete mount.
    (tmp_path / "images" / "Fig").rename(tmp_path / "Fig")
    with pytest.raises(InputError, match=r"20 of 25 are not in .*images.*with allow_removed"):
        go()
    after = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*.parquet")}
    assert after == before
    # One folder was renamed, and a fifth of the images removed: this is allowed.
    (tmp_path / "Fig").rename(tmp_path / "images" / "Figs")
    for file in (tmp_path / "images" / "Lime").iterdir():
        file.unlink()
    assert go(limit=4).report["counts"]["found"] == 4
    counts = go(images=str(wrong), allow_removed=True).report["counts"]
    assert counts == {"found": 25, "extracted": 25, "reused": 0, "rejected": 0}
    assert len(pd.read_parquet(tmp_path / "out" / "features")) == 25


def test_a_second_run_at_the_same_time_is_refused(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw({"Fig": 6})
    with (
        exclusive(str(tmp_path / "out" / "_lock")),
        pytest.raises(OutputError, match=r"process \d+ on .* is writing here"),
    ):
        go()


def test_no_usable_image_is_always_an_error(
    go: Callable[..., Run], draw: Callable[..., Path]
) -> None:
    for file in (draw({"Fig": 3}) / "Fig").iterdir():
        file.write_text("no picture")
    with pytest.raises(
        InputError, match=r"all 3 were rejected: 3 for '.*'; the reasons are in .*rejected"
    ):
        go(max_rejected=1.0)


def test_features_of_other_settings_are_not_mixed_in(
    go: Callable[..., Run], copied: dict[str, Any], tmp_path: Path
) -> None:
    before = results(tmp_path)
    with pytest.raises(OutputError, match=r"has features of .*weights_sha256.*overwrite"):
        go(**copied, weights="random")
    with pytest.raises(OutputError, match=r"precision f32; wanted precision bf16.*overwrite"):
        go(**copied, precision="bf16")
    with pytest.raises(OutputError, match=r"decode \(default\); wanted decode exact.*overwrite"):
        go(**copied, exact_decode=True)
    for table, old in results(tmp_path).items():
        pd.testing.assert_frame_equal(old, before[table])
    assert go(**copied, weights="random", overwrite=True).report["counts"]["extracted"] == 6


def test_a_limit_drops_no_features(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw({"Fig": 12, "Lime": 12})
    go()
    report = go(limit=8).report
    assert report["counts"] == {"found": 8, "extracted": 0, "reused": 8, "rejected": 0}
    pca = pd.read_parquet(tmp_path / "out" / "pca")
    assert pca["label"].value_counts().to_dict() == {"Fig": 4, "Lime": 4}
    assert len(pd.read_parquet(tmp_path / "out" / "features")) == 24
    assert go().report["counts"]["reused"] == 24


def test_the_csv_of_an_earlier_run_is_deleted(
    go: Callable[..., Run], copied: dict[str, Any], tmp_path: Path
) -> None:
    assert (tmp_path / "out" / "pca.csv").exists()
    assert go(**copied, csv=False).report["counts"]["reused"] == 6
    assert not (tmp_path / "out" / "pca.csv").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"images": "{tmp}/nowhere"}, InputError, "does not exist"),
        ({"components": 9}, ConfigError, "wanted at most 8, .*got 9"),
        ({"limit": 1}, InputError, "wanted at least two"),
        ({"output": "{tmp}/images/out"}, ConfigError, "outside of the images.*out is in .*images:"),
        ({"output": "{tmp}/images"}, ConfigError, "outside of the images.*images is the folder .*"),
        ({"output": "{tmp}/way/out"}, ConfigError, "outside of the images"),
        ({"output": "{tmp}/disk/out"}, ConfigError, "disk, a part of"),
        ({"images": "{tmp}/out/plots/a", "output": "{tmp}/out"}, ConfigError, "results replace"),
        ({"model": "{tmp}/out", "overwrite": True}, ConfigError, "overwrite would delete first"),
        ({"model": "{tmp}/foreign"}, ConfigError, "output of a finished run.*run without model"),
        ({"output": "{tmp}/file/out"}, OutputError, "is a file, or inside a file"),
        ({"output": "{tmp}/foreign"}, OutputError, "is not of a run and has features"),
        ({"weights": "{tmp}/none.h5"}, BackboneError, "cannot be read"),
        ({"weights": "{tmp}/file"}, BackboneError, "imagenet, random, or"),
    ],
)
def test_a_run_that_cannot_succeed_writes_nothing(
    go: Callable[..., Run],
    draw: Callable[..., Path],
    tmp_path: Path,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    draw({"Fig": 6})
    (tmp_path / "file").write_text("x")
    (tmp_path / "foreign" / "features").mkdir(parents=True)
    draw({"Fig": 2}, folder="disk")
    draw({"Fig": 2}, folder="out/plots/a")
    (tmp_path / "way").symlink_to("images/Fig")
    (tmp_path / "images" / "Lime").symlink_to(tmp_path / "disk")
    before = sorted(tmp_path.rglob("*"))
    filled = {
        name: value.format(tmp=tmp_path) if isinstance(value, str) else value
        for name, value in options.items()
    }
    with pytest.raises(error, match=message) as caught:
        go(**filled)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_special_characters_in_paths_are_not_patterns(
    spark: SparkSession, go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    """Other folders exist that would match the names if these were patterns."""
    odd = "o[u]t {a,b}*?, 50%"
    for bait in ("out a, 50%", "out {a,b}x?, 50%"):
        draw({"Fig": 2}, folder=f"{bait}/images", seed=5)
        (tmp_path / bait / "out").mkdir()
    images = draw({"Fi*": 3, "Fig": 3, "[Fig]": 2}, folder=f"{odd}/images")
    output = tmp_path / odd / "out"
    run = go(images=str(images), output=str(output))
    assert run.report["counts"]["found"] == 8
    assert run.table("pca").count() == run.table("features").count() == 8
    before = run.table("pca").toPandas().sort_values("path", ignore_index=True)
    again = go(images=str(images), output=str(output), overwrite=True)
    after = again.table("pca").toPandas().sort_values("path", ignore_index=True)
    pd.testing.assert_frame_equal(before, after)
    model = PipelineModel.load(Location.of(str(output / "model")).for_spark)
    transformed = model.transform(read_images(spark, str(images))).select("path", "pca").toPandas()
    transformed = transformed.sort_values("path", ignore_index=True)
    assert transformed["path"].to_list() == after["path"].to_list()
    pcas = np.stack([row.toArray() for row in transformed["pca"]])
    np.testing.assert_allclose(pcas, stacked(after["pca"]), atol=1e-5)
    # The other folders have not changed.
    for bait in ("out a, 50%", "out {a,b}x?, 50%"):
        there = [path.name for path in sorted((tmp_path / bait).rglob("*"))]
        assert there == ["images", "Fig", "0_100.jpg", "1_100.jpg", "out"]


def stacked(column: "pd.Series[Any]") -> NDArray[Any]:
    return np.stack(column.to_list())


def results(tmp_path: Path) -> dict[str, pd.DataFrame]:
    return {
        name: pd.read_parquet(tmp_path / "out" / name).sort_values("path", ignore_index=True)
        for name in ("features", "pca")
    }


def test_processors_of_different_kinds_in_one_output_are_reported(
    go: Callable[..., Run], draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw(LABELS)
    [here] = go().report["ran"]
    manifest = tmp_path / "out" / "features" / "_chunks" / "000000.json"
    chunk = json.loads(manifest.read_text())
    assert chunk["ran"] == [here]
    # As if this chunk had been made on another machine.
    manifest.write_text(json.dumps(chunk | {"ran": ["openvino 2026.4.1 f32 avx1"]}))
    draw({"Fig": 5}, seed=1)
    result = go()
    assert result.report["ran"] == sorted([here, "openvino 2026.4.1 f32 avx1"])
    assert "different kinds of processors" in result.summary()
    assert "openvino 2026.4.1 f32 avx1" in result.summary()
