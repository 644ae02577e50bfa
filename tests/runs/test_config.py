import pytest

from fruits.errors import ConfigError
from fruits.runs.config import RunConfig


def test_defaults_are_those_of_the_interface() -> None:
    assert RunConfig(images="in", output="out").as_dict() == {
        "images": "in",
        "output": "out",
        "backbone": "MobileNetV2",
        "weights": "imagenet",
        "engine": "openvino",
        "precision": "f32",
        "scaler": "minmax",
        "components": 0.97,
        "classifier": "lda",
        "transform": "auto",
        "label": None,
        "split": "auto",
        "group": None,
        "chunk": 10_000,
        "max_rejected": 0.05,
        "csv": True,
        "atlas": False,
        "limit": None,
        "model": None,
        "allow_removed": False,
        "exact_decode": False,
        "crop": None,
        "overwrite": False,
    }


@pytest.mark.parametrize("value", [1, 600, 0.97, 1.0, 1e-6])
def test_components_are_a_count_or_a_share(value: float) -> None:
    assert RunConfig(images="in", output="out", components=value).components == value


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("images", "", "a path or URI"),
        ("output", "", "a path or URI"),
        ("output", "out \udcff", "a path or URI in UTF-8"),
        ("backbone", "MobileNet9", "MobileNetV2"),
        ("engine", "torch", "openvino, tensorflow"),
        ("precision", "f16", "f32, bf16"),
        ("crop", "", "centre, saliency"),
        ("crop", "box", "centre, saliency"),
        ("scaler", "robust", "minmax, standard, none"),
        ("classifier", "svm", "lda"),
        ("transform", "log", "auto, none, sqrt, sqrt-l2"),
        ("label", "(", "a regular expression with a group"),
        ("label", "x", "a regular expression with a group"),
        ("split", "half", "auto, none or column:NAME"),
        ("group", "x", "a regular expression with a group"),
        ("components", 0, "whole number of components from 1"),
        ("components", -3, "whole number of components from 1"),
        ("components", 0.0, "share of variance"),
        ("components", 1.5, "share of variance"),
        ("components", float("nan"), "share of variance"),
        ("components", True, "whole number"),
        ("components", "many", "whole number"),
        ("chunk", 0, "whole number of images"),
        ("chunk", 2.5, "whole number of images"),
        ("max_rejected", 1.1, "a share"),
        ("max_rejected", -0.1, "a share"),
        ("limit", 0, "whole number of images"),
        ("model", "", "output of a finished run"),
        ("allow_removed", "yes", "true or false"),
        ("csv", "yes", "true or false"),
        ("overwrite", 1, "true or false"),
    ],
)
def test_a_bad_value_is_refused_by_name(option: str, value: object, wanted: str) -> None:
    options = {"images": "in", "output": "out", option: value}
    with pytest.raises(ConfigError) as caught:
        RunConfig(**options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(f"{option}: wanted ")
    assert wanted in message
    assert repr(value) in message
    assert "\n" not in message
