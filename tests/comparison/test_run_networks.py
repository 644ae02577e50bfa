"""Comparing networks on the same images: complete runs, figures, failures and resuming."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from listings import find_images
from PIL import Image

from fruits.classify.train import SCHEME
from fruits.cli import main
from fruits.comparison.network_plans import ComparisonPlan
from fruits.comparison.results import Comparison, Network
from fruits.comparison.run_networks import compare
from fruits.errors import InputError, OutputError
from fruits.runs.config import RunConfig
from fruits.runs.finished import Run
from fruits.runs.pipeline import run

SMALL = Path(__file__).parents[1] / "data" / "networks" / "dinov2"
KINDS = {"classifier": ["lda", "softmax"], "transform": ["none"]}
FIGURES = ("scheme", "images", "accuracy", "log_loss", "calibration_error", "identical")


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labels with three films each, one of which is in Test."""
    root = tmp_path_factory.mktemp("fruit")
    rng = np.random.default_rng(0)
    for label, colour in {"Fig": (90, 40, 110), "Lime": (90, 110, 50)}.items():
        for side, films in {"Training": ("r", "r2"), "Test": ("r3",)}.items():
            (root / side / label).mkdir(parents=True)
            for film in films:
                for number in range(4):
                    pixels = (rng.normal(0, 60, (6, 6, 3)) + colour).clip(0, 255).astype(np.uint8)
                    picture = Image.fromarray(pixels).resize((100, 100))
                    picture.save(root / side / label / f"{film}_{number}_100.jpg")
    return root


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder without a network."""
    return str(tmp_path_factory.mktemp("nets") / "nothing")


@pytest.fixture(scope="module")
def output(
    spark: object, graph: object, fruit: Path, nothing: str, tmp_path_factory: Any
) -> tuple[Path, Comparison]:
    """Compared with one network, then by the command with another one and with one that fails."""
    Path(nothing).mkdir()
    place = tmp_path_factory.mktemp("compared") / "out"
    progress = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        # These tests need no optimum, and each step is a Spark job for each fold.
        patch.setattr("fruits.spark.softmax.MAX_ITER", 4)
        compare(config(fruit, place), backbone=[str(SMALL), nothing], **KINDS, progress=progress)
    assert_planned_before_it_began(progress.getvalue(), place, nothing)
    first = json.loads((place / "compare.json").read_text())
    assert [one["extracted"] for one in first["networks"]] == [24, 0]
    assert_kinds_compared(Comparison.from_json(json.dumps(first).encode()).networks[0])
    options = ["--images", str(fruit), "--output", str(place), "--max-rejected", "0.5"]
    options += ["--backbone", str(SMALL), nothing, "EfficientNetLite0"]
    options += ["--transform", "none", "sqrt", "--scaler", "minmax", "none"]
    assert main(["compare", *options]) == 1
    return place, Comparison.from_json((place / "compare.json").read_bytes())


def assert_planned_before_it_began(progress: str, place: Path, nothing: str) -> None:
    """Checks the estimate of the network that can run, and the reason of the other one."""
    before, begun, _ = progress.partition("network 1 of 2")
    assert begun
    lines = [line for line in before.splitlines() if line.startswith("plan: ")]
    found = re.fullmatch(
        r"plan: 1 network from scratch: \d+ (s|min), (\d+\.\d) MB to write", lines[0]
    )
    assert found
    assert lines[1] == (
        lines[0].replace("1 network from scratch", str(SMALL)).removesuffix(" to write")
    )
    assert lines[2].startswith(f"plan: {nothing}: cannot run: ")
    assert "wanted one ONNX file" in lines[2]
    assert len(lines) == 3
    written = sum(file.stat().st_size for file in (place / SMALL.name).rglob("*") if file.is_file())
    assert 0.5 < 1e6 * float(found[2]) / written < 2


def assert_kinds_compared(network: Network) -> None:
    """Checks that both kinds of classifier have figures, and that the better one is published."""
    assert [one.classifier for one in network.tried] == KINDS["classifier"]
    grouped = [one.figures(SCHEME) for one in network.tried]
    assert grouped[0]["images"] == grouped[1]["images"] == 16
    assert grouped[0]["log_loss"] != grouped[1]["log_loss"]
    assert all(one.seconds > 0 and len(one.evaluations) == 2 for one in network.tried)
    order = [(-one["accuracy"], one["log_loss"]) for one in grouped]
    assert network.published == order.index(min(order))
    about = json.loads((Path(network.output) / "run.json").read_text())["classifier"]
    assert about["kind"] == KINDS["classifier"][network.published]


def config(images: Path, output: Path, **options: Any) -> RunConfig:
    return RunConfig(images=str(images), output=str(output), **options)


def figures(result: Run) -> list[dict[str, Any]]:
    return [{name: getattr(one, name) for name in FIGURES} for one in result.evaluations]


def test_a_network_that_fails_is_one_line_and_the_others_continue(
    output: tuple[Path, Comparison], nothing: str
) -> None:
    place, found = output
    assert [one.error is None for one in found.networks] == [True, False, True]
    assert "wanted one ONNX file" in str(found.networks[1].error)
    rows = list(csv.DictReader((place / "compare.csv").open()))
    assert [row["backbone"] for row in rows] == [
        *[str(SMALL)] * 2,
        nothing,
        *["EfficientNetLite0"] * 2,
    ]
    assert (place / "plots" / "compare.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"got none among .* plots of a run"):
        find_images(str(place))


def test_features_are_extracted_once_for_each_network(output: tuple[Path, Comparison]) -> None:
    place, found = output
    counts = json.loads((place / "dinov2" / "run.json").read_text())["counts"]
    assert (counts["extracted"], counts["reused"]) == (0, 24)
    # The times of the first comparison are still known.
    assert (found.networks[0].extracted, found.networks[2].extracted) == (24, 24)
    assert found.networks[0].extract_seconds > 0
    assert len({one.features_bytes for one in found.networks}) == 3


def test_figures_are_those_of_separate_runs(
    output: tuple[Path, Comparison], fruit: Path, tmp_path: Path
) -> None:
    place, found = output
    network = found.networks[2]
    best = network.best
    assert best is not None
    own = config(fruit, tmp_path / "own", backbone="EfficientNetLite0", transform=best.transform)
    result = run(own)
    assert [{name: one[name] for name in FIGURES} for one in best.evaluations] == figures(result)
    assert network.components == result.report["components"]
    for name in ("predictions", "pca"):
        ours, theirs = (pd.read_parquet(p / name) for p in (place / network.name, tmp_path / "own"))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    parameters = json.loads((place / network.name / "run.json").read_text())["parameters"]
    assert parameters | {"output": own.output, "max_rejected": 0.05} == own.as_dict()


def test_the_output_of_a_network_is_one_that_a_run_continues(
    output: tuple[Path, Comparison], fruit: Path
) -> None:
    place, found = output
    [other] = [one for one in found.networks[2].tried if one is not found.networks[2].best]
    result = run(
        config(
            *(fruit, place / "EfficientNetLite0"),
            backbone="EfficientNetLite0",
            transform=other.transform,
        )
    )
    assert result.report["counts"]["extracted"] == 0
    assert [{name: one[name] for name in FIGURES} for one in other.evaluations] == figures(result)


def test_scalers_are_compared_by_components_and_variance(output: tuple[Path, Comparison]) -> None:
    place, found = output
    features = pd.read_parquet(place / "dinov2" / "features").query("split == 'train'")
    x = np.stack(features["features"].to_list()).astype(np.float64)
    minmax, none = found.networks[0].reductions
    assert (minmax.scaler, none.scaler) == ("minmax", "none")
    variances = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    shares = np.cumsum(variances) / variances.sum()
    assert none.components == np.searchsorted(shares, 0.97) + 1
    assert none.explained_variance == pytest.approx(shares[none.components - 1])
    assert minmax.components == found.networks[0].components


def test_the_output_of_a_run_is_refused_for_a_comparison(
    output: tuple[Path, Comparison], fruit: Path
) -> None:
    with pytest.raises(OutputError, match="is the output of a run"):
        compare(config(fruit, output[0] / "dinov2"), backbone=["EfficientNetLite0"])


def test_other_files_in_the_folder_are_not_replaced(fruit: Path, tmp_path: Path) -> None:
    for name in ("compare.json", "compare.csv"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputError, match=name):
            compare(config(fruit, tmp_path), backbone=["EfficientNetLite0"])
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_missing_images_are_one_error_for_all_networks(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        compare(config(tmp_path / "nowhere", tmp_path / "out"), backbone=["VGG16", "ResNet50"])
    assert not (tmp_path / "out").exists()


def test_an_interruption_says_what_is_finished_and_keeps_its_figures(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, place = draw({"Fig": 2}), tmp_path / "out"

    def stopped(run: RunConfig, *_: Any) -> Network:
        if run.backbone == "ResNet50":
            raise KeyboardInterrupt
        return Network(backbone=run.backbone, output=run.output, extracted=2, extract_seconds=1.5)

    monkeypatch.setattr("fruits.comparison.run_networks._network", stopped)
    monkeypatch.setattr(
        "fruits.comparison.run_networks.plan_comparison", lambda *_: ComparisonPlan()
    )
    with pytest.raises(KeyboardInterrupt, match="kept: VGG16; the same command continues"):
        compare(config(images, place), backbone=["VGG16", "ResNet50", "MobileNetV2"])
    kept = Comparison.from_json((place / "compare.json").read_bytes())
    assert [(one.name, one.extracted) for one in kept.networks] == [("VGG16", 2)]
    assert not (place / "_lock").exists()
    # Another run begins; until it ends, the tables keep the figures of the others.
    with pytest.raises(KeyboardInterrupt, match="kept: MobileNetV2; "):
        compare(config(images, place), backbone=["MobileNetV2", "ResNet50", "VGG16"])
    kept = Comparison.from_json((place / "compare.json").read_bytes())
    assert [one.name for one in kept.networks] == ["MobileNetV2", "VGG16"]
