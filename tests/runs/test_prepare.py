"""Runs that cannot succeed are refused before any long computation."""

from collections.abc import Callable
from pathlib import Path

import pytest
from prepared import prepared

from fruits.errors import ConfigError
from fruits.runs.config import RunConfig


@pytest.mark.usefixtures("graph")
def test_an_expression_for_groups_that_matches_no_image_is_refused(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    images, output = str(draw({"Fig": 3, "Lime": 3})), str(tmp_path / "out")
    rules = {"images": images, "output": output, "backbone": "EfficientNetLite0"}
    wrong = r"(?P<group>session \d+)"

    with pytest.raises(ConfigError, match=r"matches paths such as .*jpg; .* none of 6 images"):
        prepared(RunConfig(**rules, group=wrong))

    assert prepared(RunConfig(**rules, group=wrong, classifier="none")).listing.num_rows == 6
    assert prepared(RunConfig(**rules, group=r"Fig/(?P<group>\d)")).listing.num_rows == 6
    assert prepared(RunConfig(**rules, group=r"Fig/(?P<group>r?)\d")).listing.num_rows == 6


@pytest.mark.usefixtures("graph")
@pytest.mark.parametrize("classifier", ["lda", "none"])
@pytest.mark.parametrize("wrong", [r"(?P<label>Plum)", r"Fig(?P<label>_?)/"])
def test_an_expression_for_labels_that_matches_no_image_is_refused(
    draw: Callable[..., Path], tmp_path: Path, classifier: str, wrong: str
) -> None:
    images, output = str(draw({"Fig": 3, "Lime": 3})), str(tmp_path / "out")
    rules = {"images": images, "output": output, "backbone": "EfficientNetLite0"}

    with pytest.raises(ConfigError, match=r"label: wanted .* such as .*jpg; .* none of 6 images"):
        prepared(RunConfig(**rules, label=wrong, classifier=classifier))

    config = RunConfig(**rules, label="(?P<label>Fig)", classifier=classifier)
    assert prepared(config).listing.num_rows == 6


@pytest.mark.usefixtures("graph")
def test_more_components_than_training_images_are_refused_before_the_extraction(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    images = str(draw({"Training/Fig": 3, "Training/Lime": 3, "Test/Fig": 4}))
    rules = {"images": images, "output": str(tmp_path / "out"), "backbone": "EfficientNetLite0"}

    with pytest.raises(ConfigError, match=r"at most 6, .* numbers of training images and features"):
        prepared(RunConfig(**rules, components=7))

    assert prepared(RunConfig(**rules, components=6)).listing.num_rows == 10
    assert prepared(RunConfig(**rules, components=10, split="none")).listing.num_rows == 10
