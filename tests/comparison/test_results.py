"""The tables of a comparison, and the options that it varies, tested without a run."""

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from fruits.comparison.grid import ComparisonGrid
from fruits.comparison.results import Comparison, Network, ReductionResult, Tried, best_of
from fruits.comparison.terminal_tables import text
from fruits.errors import ConfigError
from fruits.runs.config import RunConfig

CONFIG = RunConfig(images="in", output="out/")


def figures(scheme: str, accuracy: float, loss: float | None = 0.5, images: int = 60) -> Any:
    return {
        "scheme": scheme,
        "images": images,
        "accuracy": accuracy,
        "log_loss": loss,
        "calibration_error": 0.03,
    }


def tried(kind: str, grouped: float | None, split: float, loss: float | None = 0.5) -> Tried:
    found = [] if grouped is None else [figures("grouped cross-validation", grouped, loss)]
    return Tried(
        classifier=kind,
        transform="sqrt",
        shrinkage=0.1,
        seconds=2.5,
        evaluations=[*found, figures("split: test", split, images=20)],
    )


def network(name: str, *classifiers: Tried, **values: Any) -> Network:
    settings: dict[str, Any] = {
        "dimension": 1280,
        "components": 40,
        "explained_variance": 0.971,
        "image_seconds": 0.0125,
        "extracted": 80,
        "extract_seconds": 9.0,
        "fit_seconds": 1.0,
        "features_bytes": 2_500_000,
        "predictor_bytes": 30_000_000,
        "published": best_of(classifiers) if classifiers else None,
    }
    return Network(backbone=name, output=f"out/{name}", tried=[*classifiers], **settings | values)


FAST = network("Fast", tried("lda", 0.90, 1.0))
GOOD = network("Good", tried("softmax", 0.93, 0.99), tried("lda", 0.95, 0.98))
FAILED = Network(backbone="Far", output="out/Far", error="weights: out of reach: give a file")
COMPARISON = Comparison([FAST, GOOD, FAILED])


def test_the_best_network_is_the_one_with_the_best_grouped_accuracy() -> None:
    assert COMPARISON.best is GOOD
    assert GOOD.best is GOOD.tried[1]


def test_networks_with_equal_accuracy_are_sorted_by_log_loss() -> None:
    pair = [tried("lda", 0.9, 1.0, 0.4), tried("softmax", 0.9, 1.0, 0.3)]
    assert best_of(pair) == 1
    assert best_of(pair[::-1]) == 0
    assert best_of([tried("lda", 0.9, 1.0, None), pair[0]]) == 1


def test_without_a_grouped_figure_no_network_is_the_best() -> None:
    alone = Comparison([network("One", tried("lda", None, 1.0))])
    assert alone.best is None
    assert alone.points == {}
    assert "No network is marked as the best" in text(alone)


def test_a_comparison_is_read_back_from_its_json() -> None:
    reductions = [
        ReductionResult(scaler="none", wanted=0.97, components=3, explained_variance=0.98)
    ]
    whole = Comparison([replace(FAST, reductions=reductions), GOOD, FAILED])
    assert Comparison.from_json(whole.to_json()) == whole


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": "other"}', b'{"networks": 1}'])
def test_another_json_file_is_no_comparison(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no comparison|format|Expecting"):
        Comparison.from_json(content)


def test_the_csv_has_a_row_for_each_classifier_and_one_for_a_network_that_failed() -> None:
    rows = list(csv.DictReader(io.StringIO(COMPARISON.to_csv().decode())))
    assert [(row["backbone"], row["classifier"], row["best"]) for row in rows] == [
        ("Fast", "lda", "False"),
        ("Good", "softmax", "False"),
        ("Good", "lda", "True"),
        ("Far", "", "False"),
    ]
    assert [row["accuracy_grouped"] for row in rows] == ["0.9", "0.93", "0.95", ""]
    assert [row["accuracy_split_test"] for row in rows] == ["1.0", "0.99", "0.98", ""]
    assert [row["images_split_test"] for row in rows] == ["20", "20", "20", ""]
    # The predictor of a run has the best classifier only.
    assert [row["predictor_bytes"] for row in rows] == ["30000000", "", "30000000", ""]
    assert [row["error"] for row in rows] == ["", "", "", FAILED.error]


def test_each_accuracy_in_the_table_says_its_scheme() -> None:
    first, second, *lines = text(COMPARISON).splitlines()
    assert first.split()[2:6] == ["accuracy", "accuracy", "log", "loss"]
    assert second.split()[:4] == ["grouped", "split:", "test", "grouped"]
    assert [line[0] for line in lines[:4]] == [" ", " ", "*", "!"]
    assert lines[2].split() == [
        *("*", "Good", "lda,", "sqrt", "95.0%", "98.0%", "0.500", "0.030", "12.5", "3.5"),
        *("1,280", "40", "2.5", "30.0"),
    ]
    assert lines[3] == f"! Far   failed: {FAILED.error}"
    assert "grouped: cross-validation that leaves out whole groups; 60 images" in lines
    assert lines[-1] == "* best by grouped accuracy: fruits serve --model out/Good"


def test_scalers_and_components_have_a_separate_table() -> None:
    reductions = [
        ReductionResult(scaler="minmax", wanted=0.97, components=40, explained_variance=0.9712),
        ReductionResult(scaler="minmax", wanted=5000, components=None, explained_variance=None),
    ]
    lines = text(Comparison([replace(FAST, reductions=reductions)])).splitlines()
    rows = [line.split() for line in lines if "minmax" in line]
    assert rows == [
        ["Fast", "minmax", "0.97", "40", "97.1%"],
        ["Fast", "minmax", "5000", "too", "many"],
    ]
    assert not [line for line in text(Comparison([FAST])).splitlines() if "explained" in line]


def test_each_network_has_a_run_of_its_own_with_the_first_values() -> None:
    choices = ComparisonGrid.of(
        CONFIG,
        {
            "backbone": ["VGG16", "nets/dino/"],
            "scaler": ["standard", "none"],
            "components": [7, 0.9, 7],
            "classifier": ["lda", "none"],
            "transform": ["sqrt"],
        },
    )
    assert [(run.backbone, run.output) for run in choices.runs] == [
        ("VGG16", "out/VGG16"),
        ("nets/dino/", "out/dino"),
    ]
    assert {(run.scaler, run.components) for run in choices.runs} == {("standard", 7)}
    assert (choices.scalers, choices.components) == (["standard", "none"], [7, 0.9])
    assert choices.classifiers == [("lda", "sqrt"), ("none", "auto")]


@pytest.mark.parametrize(
    ("config", "values", "wanted"),
    [
        (CONFIG, {"backbone": []}, "backbone: wanted at least one network"),
        (CONFIG, {"backbone": ["VGG16", "nets/vgg16"]}, "more than once"),
        (CONFIG, {"backbone": ["nets/plots"]}, "rename it"),
        (CONFIG, {"backbone": ["VGG61"]}, "backbone: wanted one of"),
        (CONFIG, {"backbone": ["VGG16"], "scaler": ["robust"]}, "scaler: wanted"),
        (CONFIG, {"backbone": ["VGG16"], "components": [0]}, "components: wanted"),
        (CONFIG, {"backbone": ["VGG16"], "classifier": ["svm"]}, "classifier: wanted"),
        (CONFIG, {"backbone": ["VGG16"], "transform": ["log"]}, "transform: wanted"),
        (CONFIG, {"backbone": ["VGG16"], "engine": ["openvino"]}, "engine: wanted several values"),
        (replace(CONFIG, model="other"), {"backbone": ["VGG16"]}, "model: wanted none"),
    ],
)
def test_values_that_cannot_be_compared_are_refused(
    config: RunConfig, values: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(ConfigError, match=wanted):
        ComparisonGrid.of(config, values)
