"""The sections about a classifier in the notebook: figures and tables, or why there are none."""

import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pyspark.sql import SparkSession

from fruits.predictor import Predictor
from fruits.runs import views
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.image_map import frame_of
from fruits.runs.outputs import Outputs
from fruits.runs.pipeline import run
from fruits.runs.predict import predict_config
from fruits.runs.publish import pc1_pc2
from fruits.sample import draw_sample

SECTIONS = (
    *(views.evaluations, views.labels, views.confusion, views.calibration),
    *(views.confused_pairs, views.suspects, views.unknown),
)

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark", "graph")]


def go(images: Path, output: Path, **options: str) -> Run:
    config = RunConfig(
        images=str(images), output=str(output), backbone="EfficientNetLite0", **options
    )
    return run(config)


def texts(figure: object) -> list[str]:
    """The texts above the images of a figure, and the title of the figure."""
    assert isinstance(figure, Figure)
    title = figure.get_suptitle()
    return [title, *(axes.get_title() for axes in figure.axes if axes.get_title())]


@pytest.fixture(scope="module")
def finished(
    spark: object, graph: object, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Path]:
    """A run on three labels and two splits; one training image has the label of another fruit."""
    folder = tmp_path_factory.mktemp("views")
    draw_sample(str(folder / "sample"), classes=3, per_class=12)
    train = folder / "sample/Training"
    apple, banana = sorted(train.glob("Apple*"))[0], next(train.glob("Banana*"))
    shutil.copy(banana / "0_100.jpg", apple / "r2_999_100.jpg")
    return go(folder / "sample", folder / "out"), folder


def test_each_evaluation_is_a_column(finished: tuple[Run, Path]) -> None:
    result, _ = finished
    table = views.evaluations(result)
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == ["grouped cross-validation", "split: test"]
    grouped, split = result.evaluations
    assert table.loc["accuracy"].tolist() == [f"{grouped.accuracy:.1%}", f"{split.accuracy:.1%}"]
    assert table.loc["images"].tolist() == ["37", "12"]
    assert table.loc["identical to training images"].tolist()[0] == "not measured"


def test_labels_are_listed_from_the_worst(finished: tuple[Run, Path]) -> None:
    table = views.labels(finished[0], 2)
    assert isinstance(table, pd.DataFrame)
    worst = sorted(one.f1 for one in finished[0].evaluations[0].labels)[:2]
    assert table["f1"].tolist() == [round(f1, 3) for f1 in worst]


def test_an_image_in_the_folder_of_another_fruit_is_a_suspect(finished: tuple[Run, Path]) -> None:
    result, folder = finished
    title, *labels = texts(views.suspects(result))
    assert title.startswith("Labels that may be wrong")
    assert any(text.startswith("Apple") and "→ Banana" in text for text in labels)
    listed = pd.read_parquet(folder / "out/quality/label_suspect.parquet")
    assert [text.rpartition("→ ")[2] for text in labels] == listed["other_label"].tolist()[:10]
    (one,) = texts(views.suspects(result, 1))[1:]
    assert one == labels[0]


def test_a_confusion_is_shown_with_an_image_of_both_labels(finished: tuple[Run, Path]) -> None:
    title, *pairs = texts(views.confused_pairs(finished[0]))
    assert "grouped cross-validation" in title
    worst = finished[0].evaluations[0].worst(1)[0]
    assert any(pair.replace("\n", " ") == f"{worst[0]} → {worst[1]} ({worst[2]})" for pair in pairs)


def test_held_out_confusions_are_shown_without_the_table_of_predictions(
    finished: tuple[Run, Path], tmp_path: Path
) -> None:
    shutil.copytree(finished[1] / "out", tmp_path / "out")
    shutil.rmtree(tmp_path / "out/predictions")
    kept = replace(finished[0], outputs=Outputs.of(str(tmp_path / "out")))
    assert texts(views.confused_pairs(kept)) == texts(views.confused_pairs(finished[0]))


def test_wrong_predictions_without_photographs_are_not_denied(
    finished: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = finished
    monkeypatch.setattr(Run, "pictures_of", lambda self, paths: {})
    assert str(views.confused_pairs(result)).startswith("No wrong prediction can be shown: ")
    right = replace(result.evaluations[0], accuracy=1.0)
    monkeypatch.setattr(Run, "evaluations", property(lambda self: [right]))
    assert views.confused_pairs(result) == (
        "No image has a wrong prediction (grouped cross-validation)."
    )


def test_figures_of_the_first_evaluation_name_its_scheme(
    finished: tuple[Run, Path],
) -> None:
    assert "grouped cross-validation" in texts(views.confusion(finished[0]))[0]
    assert isinstance(views.calibration(finished[0]), Figure)


def test_with_the_model_of_a_finished_run_the_images_given_are_shown(
    finished: tuple[Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = finished
    given = tmp_path / "given"
    shutil.copytree(folder / "sample/Test", given)
    apple, banana = sorted(given.glob("Apple*"))[0], next(given.glob("Banana*"))
    predictions = pd.read_parquet(folder / "out/predictions").query("split == 'test'")
    surest = predictions[predictions["label"] == banana.name].nlargest(1, "confidence")
    shutil.copy(surest["path"].iloc[0].removeprefix("file:"), apple / "banana.jpg")

    monkeypatch.setattr("fruits.runs.report_data.MOST_IMAGES", 2)
    progress = io.StringIO()
    result = run(predict_config(str(folder / "out"), str(given), str(tmp_path / "out")), progress)
    stages = {line.split()[0] for line in progress.getvalue().splitlines() if line}
    assert "measure" in stages  # Nothing is fitted.
    assert "fit" not in stages
    assert {"measure", "extract"} <= result.report["seconds"].keys()
    bars = [tick.get_text() for tick in views.seconds(result).axes[0].get_yticklabels()]
    assert {"measure", "extract"} <= set(bars) <= stages

    for section in (views.suspects, views.confused_pairs):
        _, first, *_ = texts(section(result))
        assert first.startswith("Apple")
        assert "→ Banana" in first
    assert "images given" in texts(views.confused_pairs(result))[0]
    # The report has it, too, although its sample has only two images.
    confused = f"<strong>1</strong> of {apple.name} predicted as {banana.name}"
    assert confused in (tmp_path / "out/report.html").read_text()


def test_a_run_that_found_nothing_changed_shows_the_same(finished: tuple[Run, Path]) -> None:
    result, folder = finished
    again = go(folder / "sample", folder / "out")
    assert "checked" in again.report
    assert again.evaluations == result.evaluations
    np.testing.assert_array_equal(again.reduction.weights, result.reduction.weights)
    assert again.classified
    assert again.classified.held_out
    assert result.classified
    assert result.classified.held_out
    assert again.classified.held_out.paths == result.classified.held_out.paths
    for name, expected in vars(result.classified.held_out.predictions).items():
        found = getattr(again.classified.held_out.predictions, name)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    for section in (views.suspects, views.confused_pairs):
        assert texts(section(again)) == texts(section(result))
    assert again.table("pca").toPandas().equals(result.table("pca").toPandas())


def test_a_run_is_shown_without_spark(
    finished: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = replace(finished[0], session=None)
    monkeypatch.setattr(Run, "spark", property(lambda self: pytest.fail("Spark is not needed")))
    for section in SECTIONS:
        section(result)
    assert len(result.pictures(2)[0]) == 2


def test_the_map_of_very_many_images_shows_as_many_of_each_label(
    finished: tuple[Run, Path], spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = finished
    assert result.classified
    own = (spark, result.outputs, result.reduction, result.classified.classifier)
    whole, axes = frame_of(*own)
    assert len(whole) == result.table("predictions").count()
    monkeypatch.setattr("fruits.runs.image_map.POINTS", 15)
    few, _ = frame_of(*own)
    assert few["label"].value_counts().tolist() == [5, 5, 5]
    same = whole.set_index("path").loc[few["path"]]
    np.testing.assert_array_equal(few[axes], same[axes])


def test_missing_images_are_left_out(finished: tuple[Run, Path], tmp_path: Path) -> None:
    result, _ = finished
    paths = [row["path"] for row in result.table("features").select("path").collect()]
    pictures = result.pictures_of([paths[1], "file:/gone.jpg", paths[0]])
    assert list(pictures) == [paths[1], paths[0]]
    assert pictures[paths[0]].shape == (160, 160, 3)


def test_images_without_a_label_are_no_training_images_and_named_no_label(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    images = draw({"Fig": 6, "Lime": 6, "unsorted": 5})
    result = go(images, tmp_path / "out", label=r"/(?P<label>[A-Z]\w+)/[^/]+$")
    about = Predictor.load(tmp_path / "out").about
    assert about["classifier"]["training_images"] == about["neighbours"] == 12
    names = pd.read_parquet(tmp_path / "out" / "predictor" / "neighbours.parquet")
    assert set(names["label"]) == {"Fig", "Lime"}
    assert set(result.pictures(17)[1]) == {"Fig", "Lime", "no label"}
    assert pc1_pc2(result.outputs.published("pca"))[1].count(None) == 5
    # These groups are only blocks of file names, so that the report promises nothing.
    assert about["classifier"]["groups_by"] == {"block": 2}
    assert "only blocks of neighbouring files" in (tmp_path / "out" / "report.html").read_text()


def test_without_a_classifier_each_section_says_why_in_one_line(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    result = go(draw({"Fig": 4}), tmp_path / "out")
    for section in SECTIONS:
        note = section(result)
        assert isinstance(note, views.Note)
        assert repr(note) == str(note)
        assert str(note).startswith("No classifier: wanted at least two labels")
        assert "\n" not in note


def test_without_held_out_images_no_label_is_a_suspect(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    result = go(draw({"Fig": 1, "Lime": 1}), tmp_path / "out")
    assert result.evaluations == []
    assert str(views.evaluations(result)).startswith(
        "The classifier was not evaluated by grouped cross-validation: no label has images that can"
    )
    assert "2 training images had no prediction" in str(views.suspects(result))


def test_the_examples_about_findings_list_the_suspect(
    finished: tuple[Run, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs/quality.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        assert '"OUTPUT/quality"' in example
        # Spark resolves relative paths in the folder in which its JVM was started.
        exec(example.replace("OUTPUT", str(finished[1] / "out")), {})
        shown = capsys.readouterr().out
        assert "Banana" in shown
        assert "score" in shown
