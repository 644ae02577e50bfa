"""The options of ``fruits predict``, some of which come from a finished run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from listings import list_images

from fruits.errors import ConfigError, InputError
from fruits.runs.predict import predict_config
from fruits.sources.naming import Naming


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """An output with only the parameters."""
    output = tmp_path / "output"
    output.mkdir()
    parameters = {"backbone": "EfficientNetLite0", "label": "grandparent", "csv": False}
    (output / "run.json").write_text(json.dumps({"parameters": parameters}))
    return output


def test_what_decides_the_features_is_that_of_the_model(finished: Path, tmp_path: Path) -> None:
    config = predict_config(str(finished), "images", str(tmp_path / "other"))
    assert (config.backbone, config.label, config.model) == (
        "EfficientNetLite0",
        "grandparent",
        str(finished),
    )
    assert config.csv is True


@pytest.mark.parametrize("components", [0.9, 7])
def test_the_scaler_and_the_components_are_read_with_the_model(
    finished: Path, tmp_path: Path, components: int | float
) -> None:
    there = json.loads((finished / "run.json").read_text())
    there["parameters"] |= {"scaler": "standard", "components": components}
    (finished / "run.json").write_text(json.dumps(there))
    config = predict_config(str(finished), "images", str(tmp_path / "other"))
    # A value that differs from the default would have to be that of the model.
    assert (config.scaler, config.components) == ("minmax", 0.97)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none", r"run.json does not exist: give another folder \(a comparison .*\), or run first"),
        ("file", "file is a file, or inside a file: give a folder"),
        ("file/output", "output is a file, or inside a file: give a folder"),
    ],
)
def test_a_model_that_is_not_there_is_an_error_that_says_what_to_do(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        ConfigError, match=f"^model: wanted the output of a finished run; .*{reason}$"
    ):
        predict_config(str(tmp_path / name), "images", str(tmp_path / "other"))


@pytest.mark.parametrize(
    "name", ["output", "output/", "./output", "other/../output", "output/new", "output/a/b"]
)
def test_results_are_not_written_into_the_output_of_the_model(finished: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="output: wanted a folder outside of the model's"):
        predict_config(str(finished), "images", f"{finished.parent}/{name}")


def test_a_model_of_labels_in_a_table_predicts_images_without_these_columns(
    finished: Path, draw: Callable[..., Path], tmp_path: Path
) -> None:
    rules = {"label": "column:species", "split": "column:fold"}
    (finished / "run.json").write_text(json.dumps({"parameters": rules}))
    draw({"Test/Fig": 1, "photos": 1})
    table = tmp_path / "images.csv"

    def listed(images: str) -> list[tuple[str, str]]:
        config = predict_config(str(finished), images, str(tmp_path / "other"))
        found = list_images(config.images, config.naming).images
        return [(row["label"], row["split"]) for row in found.to_pylist()]

    assert listed(str(tmp_path / "images")) == [("Fig", "test"), ("photos", None)]
    table.write_text("file,label\nimages/Test/Fig/0_100.jpg,Ficus\n")
    assert listed(str(table)) == [("Ficus", "test")]
    with pytest.raises(InputError, match=r"wanted a column of .*, which has file, label"):
        list_images(str(table), Naming(**rules))
    table.write_text("file,label,species,fold\nimages/Test/Fig/0_100.jpg,Ficus,Lime,train\n")
    assert listed(str(table)) == [("Lime", "train")]
