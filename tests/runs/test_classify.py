"""The classifier of a run: training on the training images, evaluation, files, and reuse."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from listings import find_images
from numpy.typing import NDArray
from PIL import Image
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.sql import SparkSession
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.preprocessing import MinMaxScaler, Normalizer
from small_pictures import draw_pictures
from unpacked import map_of, thumbnails_of

from fruits.classify.axes import discriminant_axes
from fruits.errors import InputError
from fruits.networks.graph import CompiledGraph
from fruits.predictor import Predictor
from fruits.quality.atlas import ATLAS
from fruits.quality.findings import KINDS, SCHEMA, file_of
from fruits.quality.gaussian import Gaussian, frechet_distance
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.load_model import load_model
from fruits.runs.pipeline import run
from fruits.runs.predict import predict_config
from fruits.spark.read_images import read_images

COLOURS = {"Apple": (190, 40, 40), "Fig": (90, 40, 110), "Lime": (90, 170, 50)}

TRANSFORMED: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "none": lambda x: x,
    "sqrt": lambda x: np.copysign(np.sqrt(np.abs(x)), x),
    "sqrt-l2": lambda x: Normalizer().fit_transform(TRANSFORMED["sqrt"](x)),
}

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark", "graph")]


def draw_film(folder: Path, label: str, film: str, count: int, seed: int) -> None:
    """Writes frames of one film: noise on the colours of the label and of the film."""
    rng = np.random.default_rng([seed, *label.encode(), *film.encode()])
    own = rng.normal(0, 25, 3)
    (folder / label).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        grain = rng.normal(0, 30, (6, 6, 3)) + own + COLOURS.get(label, (128, 128, 128))
        picture = Image.fromarray(grain.clip(0, 255).astype(np.uint8))
        picture = picture.resize((100, 100), Image.Resampling.BICUBIC)
        picture.save(folder / label / f"{film}_{number}_100.jpg", quality=90)


def draw_fruit(root: Path) -> Path:
    """Three labels: three films in Training, another one and a copied training picture in Test."""
    for label in COLOURS:
        for film in ("r", "r2", "r3"):
            draw_film(root / "Training", label, film, 5, 0)
        draw_film(root / "Test", label, "r4", 5, 1)
    shutil.copy(root / "Training/Fig/r_0_100.jpg", root / "Test/Fig/copy_0_100.jpg")
    return root


def go(images: Path, output: Path, **options: Any) -> Run:
    settings = {"backbone": "EfficientNetLite0", **options}
    return run(RunConfig(images=str(images), output=str(output), **settings))


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_fruit(tmp_path_factory.mktemp("fruit"))


@pytest.fixture(scope="module")
def finished(
    spark: SparkSession,
    graph: CompiledGraph,
    fruit: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Run, Path]:
    output = tmp_path_factory.mktemp("finished") / "out"
    return go(fruit, output, atlas=True), output


def stacked(column: pd.Series) -> NDArray[Any]:
    return np.stack(column.to_list())


def report_of(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "run.json").read_text()))


def test_predictions_are_those_of_scikit_learn_fitted_to_the_training_side(
    finished: tuple[Run, Path],
) -> None:
    result, output = finished
    about = result.report["classifier"]
    features = pd.read_parquet(output / "features").sort_values("path", ignore_index=True)
    predictions = pd.read_parquet(output / "predictions")
    assert predictions.columns.tolist() == [
        *("path", "label", "split", "predicted", "confidence", "unknown", "distance", "top5")
    ]
    assert predictions["path"].tolist() == features["path"].tolist()
    x = stacked(features["features"]).astype(np.float64)
    x = TRANSFORMED[about["transform"]](x)
    train = (features["split"] == "train").to_numpy()
    assert about["training_images"] == train.sum() == 45
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=about["shrinkage"])
    theirs.fit(x[train], features["label"][train])
    # The features are float32, and so are their roots.
    logits = theirs.decision_function(x) / about["temperature"]
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predictions["confidence"], chances.max(axis=1), atol=1e-4)
    assert predictions["predicted"].tolist() == theirs.classes_[chances.argmax(axis=1)].tolist()
    for row, own in zip(predictions["top5"], chances, strict=True):
        assert [one["label"] for one in row] == theirs.classes_[np.argsort(-own)].tolist()


def test_scaler_and_components_are_fitted_to_the_training_side(
    finished: tuple[Run, Path],
) -> None:
    result, output = finished
    assert result.report["split"] == {
        "images": {"test": 16, "train": 45},
        "labelled": {"test": 16, "train": 45},
        "fitted_to": "train",
    }
    features = pd.read_parquet(output / "features").sort_values("path")
    pca = pd.read_parquet(output / "pca")
    assert pca["split"].tolist() == features["split"].tolist()
    x = stacked(features["features"]).astype(np.float64)
    train = (features["split"] == "train").to_numpy()
    scaler = MinMaxScaler().fit(x[train])
    components = result.report["components"]
    theirs = PCA(components, svd_solver="full").fit(scaler.transform(x[train]))
    expected = scaler.transform(x) @ theirs.components_.T
    actual = stacked(pca["pca"])
    expected *= np.sign((expected * actual).sum(axis=0))
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


def test_each_evaluation_names_what_it_was_measured_on(finished: tuple[Run, Path]) -> None:
    result, output = finished
    grouped, split = report_of(output)["evaluation"]
    assert (grouped["scheme"], grouped["images"]) == ("grouped cross-validation", 45)
    assert (split["scheme"], split["images"], split["identical"]) == ("split: test", 16, 1)
    tested = pd.read_parquet(output / "predictions").query("split == 'test'")
    truth, predicted = tested["label"], tested["predicted"]
    assert split["accuracy"] == accuracy_score(truth, predicted)
    assert split["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert split["unknown"] == tested["unknown"].mean()
    assert "file name" in result.report["classifier"]["groups"]
    for line in (
        f"accuracy {grouped['accuracy']:.1%} on 45",
        "1 is equal to training images, byte for byte",
    ):
        assert line in result.summary()
    for name in ("confusion.png", "calibration.png"):
        assert (output / "plots" / name).read_bytes().startswith(b"\x89PNG")


def test_the_map_of_the_report_has_the_components_and_the_discriminant_axes(
    finished: tuple[Run, Path],
) -> None:
    result, output = finished
    page = (output / "report.html").read_text()
    data = map_of(page)
    pca = pd.read_parquet(output / "pca")
    files = zip(data["folder"].tolist(), data["files"], strict=True)
    assert [data["folders"][folder] + name for folder, name in files] == pca["path"].tolist()
    components = stacked(pca["pca"])[:, :2]
    np.testing.assert_allclose(data["plane0"].reshape(-1, 2), components, atol=1e-5)
    features = pd.read_parquet(output / "features").sort_values("path")["features"]
    assert result.classified
    axes = discriminant_axes(result.classified.classifier).coordinates(stacked(features))
    np.testing.assert_allclose(data["plane1"].reshape(-1, 2), axes, atol=1e-4)
    assert all(one.startswith(b"\xff\xd8") for one in thumbnails_of(page))
    assert "copy_0_100.jpg" in page[page.index('id="split-duplicate"') :].partition("</section>")[0]
    grouped, split = result.report["evaluation"]
    for one in (grouped, split):
        assert f'<p class="value">{one["accuracy"]:.1%}</p>' in page


def test_spark_reads_all_findings_as_one_table(
    finished: tuple[Run, Path], fruit: Path, spark: SparkSession
) -> None:
    result, output = finished
    found = spark.read.parquet(str(output / "quality")).toPandas()
    assert found.columns.tolist() == SCHEMA.names
    assert {*(output / "quality").iterdir()} == {output / file_of(kind) for kind in KINDS}
    counts = found["kind"].value_counts().to_dict()
    assert {kind: counts.get(kind, 0) for kind in KINDS} == result.report["quality"]
    (leak,) = found.query("kind == 'split duplicate'").to_dict("records")
    assert leak["path"] == f"file:{fruit}/Test/Fig/copy_0_100.jpg"
    assert leak["other"] == f"file:{fruit}/Training/Fig/r_0_100.jpg"
    assert (leak["split"], leak["other_split"], leak["score"]) == ("test", "train", 1)
    (drift,) = found.query("kind == 'drift' and label.isnull()").to_dict("records")
    train, test = (
        stacked(pd.read_parquet(output / "pca").query(f"split == '{side}'")["pca"]).astype(float)
        for side in ("train", "test")
    )
    one, other = (Gaussian(len(x), x.mean(axis=0), np.cov(x.T)) for x in (test, train))
    assert drift["score"] == pytest.approx(frechet_distance(one, other) / other.spread, rel=1e-4)
    assert result.report["seconds"]["quality"] > 0
    assert "findings: 1 split duplicate" in result.summary()


def test_the_map_of_the_images_has_a_row_for_each(finished: tuple[Run, Path]) -> None:
    _, output = finished
    rows, pca = pq.read_table(output / "atlas.parquet"), pd.read_parquet(output / "pca")
    assert rows.schema == ATLAS
    assert rows["path"].to_pylist() == pca["path"].tolist()
    np.testing.assert_array_equal(rows["y"], stacked(pca["pca"])[:, 1])
    assert rows["thumbnail"].null_count == rows["predicted"].null_count == 0


def test_the_predictor_gives_the_bits_of_the_run(finished: tuple[Run, Path], fruit: Path) -> None:
    _, output = finished
    predictor = Predictor.load(output)
    rows = pd.read_parquet(output / "predictions")
    pca = pd.read_parquet(output / "pca")
    some = [0, 20, 50, 60]
    contents = [Path(rows["path"][n].removeprefix("file:")).read_bytes() for n in some]
    for n, ours in zip(some, predictor.predict_many(contents), strict=True):
        assert not isinstance(ours, str)
        assert (ours.label, ours.confidence) == (rows["predicted"][n], rows["confidence"][n])
        assert (ours.distance, ours.unknown) == (rows["distance"][n], rows["unknown"][n])
        assert [*ours.top] == [(one["label"], one["probability"]) for one in rows["top5"][n]]
        assert ours.components.tobytes() == pca["pca"][n].tobytes()
    training = predictor.predict((fruit / "Training/Lime/r_3_100.jpg").read_bytes())
    nearest = training.neighbours[0]
    assert (nearest.label, nearest.distance) == ("Lime", 0)
    assert nearest.path.endswith("Training/Lime/r_3_100.jpg")
    assert nearest.thumbnail is not None
    with Image.open(io.BytesIO(nearest.thumbnail)) as thumbnail:
        shown = np.asarray(thumbnail.convert("RGB"), float).mean(axis=(0, 1))
    with Image.open(fruit / "Training/Lime/r_3_100.jpg") as picture:
        np.testing.assert_allclose(shown, np.asarray(picture, float).mean(axis=(0, 1)), atol=4)


def test_the_saved_model_predicts_the_same_labels(
    finished: tuple[Run, Path], fruit: Path, spark: SparkSession
) -> None:
    _, output = finished
    rows = load_model(str(output)).transform(read_images(spark, str(fruit / "Test")))
    columns = ["path", "label", "predictedLabel", "prediction", "probability", "error"]
    found = rows.select(columns).toPandas().sort_values("path")
    wanted = pd.read_parquet(output / "predictions").query("split == 'test'")
    assert found["predictedLabel"].tolist() == wanted["predicted"].tolist()
    np.testing.assert_allclose(
        found["probability"].map(max), wanted["confidence"], rtol=1e-9, atol=0
    )
    (stage,) = (output / "model/stages").glob("*LogisticRegression*")
    assert LogisticRegressionModel.load(str(stage)).numClasses == 3


def test_softmax_is_trained_on_the_same_images_and_evaluated_by_the_same_folds(
    finished: tuple[Run, Path], fruit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lda, _ = finished
    # This test needs no optimum, and each step is a Spark job for each fold.
    monkeypatch.setattr("fruits.spark.softmax.MAX_ITER", 5)
    result = go(fruit, tmp_path / "out", classifier="softmax")
    assert result.report["classifier"]["kind"] == "softmax"
    assert result.report["classifier"]["unconverged"] > 1
    assert [one.scheme for one in result.evaluations] == [one.scheme for one in lda.evaluations]
    assert [one.images for one in result.evaluations] == [45, 16]
    assert result.evaluations[1].accuracy > 0.8
    predictor = Predictor.load(tmp_path / "out")
    row = pd.read_parquet(tmp_path / "out" / "predictions").iloc[3]
    ours = predictor.predict(Path(row["path"].removeprefix("file:")).read_bytes())
    assert (ours.label, ours.confidence) == (row["predicted"], row["confidence"])


def test_images_without_a_label_do_not_count_as_identical(
    graph: CompiledGraph, fruit: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(fruit, images)
    for side, name in (("Training", "strange"), ("Test", "strange")):
        draw_film(images / side, name, "r", 1, 7)
    for place in ("Test/Fig/of_an_unlabelled.jpg", "Test/strange/of_an_unlabelled.jpg"):
        shutil.copy(images / "Training/strange/r_0_100.jpg", images / place)
    shutil.copy(images / "Training/Fig/r_0_100.jpg", images / "Test/strange/copy.jpg")
    draw_film(images, "Fig", "aside", 2, 8)
    labels = "|".join(COLOURS)

    result = go(images, tmp_path / "out", label=f"/(?P<label>{labels})/[^/]+$", classifier="lda")

    split = result.evaluations[1]
    assert (split.scheme, split.images, split.identical) == ("split: test", 17, 1)
    page = (tmp_path / "out" / "report.html").read_text()
    for line in (
        "2 labelled images are in no part of the split: predicted, but used neither for training",
        "4 images have no label: predicted, but used neither for training nor for evaluation",
    ):
        assert f"\n  {line}" in result.summary()
        assert line in page
    model = predict_config(str(tmp_path / "out"), str(images / "Test"), str(tmp_path / "again"))
    (again,) = run(model).evaluations
    assert (again.images, again.identical) == (17, 1)


def test_another_folder_is_predicted_and_evaluated_by_the_model_of_a_finished_run(
    finished: tuple[Run, Path], fruit: Path, tmp_path: Path
) -> None:
    _, output = finished
    plain = tmp_path / "given" / "Fig"
    shutil.copytree(fruit / "Test/Fig", plain)
    draw_film(tmp_path / "given", "Plum", "r", 3, 2)
    # A file that a user has put into the predictor is not part of it.
    (output / "predictor" / "mine").mkdir()
    (output / "predictor" / "mine" / "notes.txt").write_text("mine")
    result = run(predict_config(str(output), str(tmp_path / "given"), str(tmp_path / "out")))
    (one,) = result.evaluations
    assert (one.scheme, one.images, one.identical) == ("images given", 9, 1)
    assert one.unseen_labels == {"Plum": 3}
    assert one.accuracy <= 6 / 9
    assert "labels without training images count as wrong: Plum (3)" in result.summary()
    again = pd.read_parquet(tmp_path / "out" / "predictions").set_index("path")
    before = pd.read_parquet(output / "predictions").set_index("path")
    for path in plain.iterdir():
        old = before.loc[f"file:{fruit}/Test/Fig/{path.name}"]
        assert again.loc[f"file:{path}"].confidence == old.confidence
    copied, original = (Predictor.load(place) for place in (tmp_path / "out", output))
    assert copied.about == original.about
    found = pd.read_parquet(tmp_path / "out" / "quality").set_index("kind")
    assert found.loc["split duplicate", "path"] == f"file:{plain}/copy_0_100.jpg"
    assert found.loc["split duplicate", "other"] == f"file:{fruit}/Training/Fig/r_0_100.jpg"
    assert "the model" in found.loc[["drift"], "other_split"].tolist()
    assert not (tmp_path / "out" / "predictor" / "mine").exists()


def test_no_result_is_an_image_of_a_later_run(finished: tuple[Run, Path]) -> None:
    _, output = finished
    with pytest.raises(InputError, match=r"got none among .* 4 plots of a run"):
        find_images(str(output))


def test_images_without_known_labels_are_predicted_and_not_evaluated(
    finished: tuple[Run, Path], tmp_path: Path
) -> None:
    _, output = finished
    draw_film(tmp_path / "given", "uploads", "photo", 3, 3)
    result = run(predict_config(str(output), str(tmp_path / "given"), str(tmp_path / "out")))
    assert result.evaluations == []
    predictions = pd.read_parquet(tmp_path / "out" / "predictions")
    assert set(predictions["predicted"]) <= set(COLOURS)
    assert "not evaluated: no image has a label that the model knows" in result.summary()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "not evaluated: no image has a label that the model knows" in page
    assert "Photographs by predicted label" in page


def test_three_steps_of_growth_give_the_bits_of_one_run(
    finished: tuple[Run, Path], fruit: Path, tmp_path: Path
) -> None:
    _, output = finished
    images = tmp_path / "images"
    everything = sorted(path for path in fruit.rglob("*.jpg"))
    for step in range(3):
        for path in everything[step::3]:
            target = images / path.relative_to(fruit)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        go(images, tmp_path / "out")
    for name in ("predictions", "pca"):
        grown, whole = (pd.read_parquet(place / name) for place in (tmp_path / "out", output))
        grown["path"] = grown["path"].str.replace(str(images), str(fruit))
        pd.testing.assert_frame_equal(grown, whole, check_exact=True)
    ours, theirs = (place / "model/_basis.classifier" for place in (tmp_path / "out", output))
    assert ours.read_bytes() == theirs.read_bytes()


def test_other_rules_for_labels_reuse_the_features(
    fruit: Path, tmp_path: Path, draw: Callable[..., Path]
) -> None:
    root = draw({"Apple Red": 6, "Apple Gala": 6, "Fig Ripe": 6, "Fig Green": 6})
    first = go(root, tmp_path / "out")
    assert first.report["classifier"]["labels"] == 4
    kinds = r"/(?P<label>\w+)[^/]*/[^/]+$"
    second = go(root, tmp_path / "out", label=kinds)
    assert second.report["counts"]["extracted"] == 0
    assert second.report["classifier"]["labels"] == 2
    for name in ("features", "pca", "predictions"):
        assert set(pd.read_parquet(tmp_path / "out" / name)["label"]) == {"Apple", "Fig"}
    # The groups of a kind are its varieties.
    assert "2 labels grouped by folder" in second.report["classifier"]["groups"]


@pytest.mark.parametrize(
    ("labels", "options", "reason"),
    [
        ({"Fig": 4}, {}, "wanted at least two labels among the training images; found 'Fig' only"),
        ({"Fig": 3, "Lime": 3}, {"classifier": "none"}, "the option classifier is none"),
        (
            {"Fig": 4},
            {"label": "(?P<label>F)"},
            "found 'F' only: correct label, which is '(?P<label>F)'",
        ),
        (
            {"train": 4},
            {},
            "found none: if the labels are in another part of the paths, set label, for example",
        ),
    ],
)
def test_a_run_without_a_classifier_says_why(
    draw: Callable[..., Path],
    tmp_path: Path,
    labels: dict[str, int],
    options: dict[str, str],
    reason: str,
) -> None:
    result = go(draw(labels), tmp_path / "out", **options)
    assert reason in result.report["classifier"]["skipped"]
    assert f"no classifier: {result.report['classifier']['skipped']}" in result.summary()
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert not there & {"predictions", "predictor", "atlas.parquet"}
    assert {"pca", "model", "features", "quality"} <= there
    found = result.report["quality"]
    assert set(found) == {*KINDS, "skipped"}
    not_made = {"label suspect", "outlier", "drift"}
    assert {kind for kind in KINDS if found[kind] is None} == set(found["skipped"]) == not_made
    assert "  outlier: not looked for without a classifier" in result.summary().splitlines()


@pytest.fixture(scope="module")
def one_side(spark: SparkSession, graph: CompiledGraph, tmp_path_factory: Any) -> Run:
    """A run with only a folder Test, in which one label has one image."""
    folder: Path = tmp_path_factory.mktemp("one-side")
    images = draw_pictures(folder / "images", {"Test/Fig": 6, "Test/Lime": 6, "Test/Kiwi": 1})
    return go(images, folder / "out")


def test_images_on_one_side_only_are_all_used_for_training(one_side: Run) -> None:
    assert one_side.report["split"] == {
        "images": {"test": 13},
        "labelled": {"test": 13},
        "fitted_to": "all",
    }
    assert one_side.report["classifier"]["training_images"] == 13
    assert [one.scheme for one in one_side.evaluations] == ["grouped cross-validation"]


def test_a_label_with_one_image_is_trained_but_never_tested(one_side: Run) -> None:
    assert one_side.report["classifier"]["labels"] == 3
    assert one_side.evaluations[0].images == 12
