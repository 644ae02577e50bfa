"""Labels are counted before a run starts, because their sums must fit in the driver's memory."""

import dataclasses
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from estimates import CONFIG
from test_parts import go, results

from fruits.cli import main
from fruits.comparison.run_networks import compare
from fruits.networks.graph import CompiledGraph
from fruits.planning import label_memory
from fruits.planning.label_memory import labels_refusal
from fruits.runs.config import RunConfig
from fruits.sources.listing import LISTING
from fruits.sources.parts import Parts

IMAGES = 120_000


def listing_of(labels: int, test: int = 0) -> Parts:
    """Images with this number of labels in two parts; the first ones are test images."""
    columns = {
        "path": [f"file:/{n}.jpg" for n in range(IMAGES)],
        "label": [f"label {n % labels}" for n in range(IMAGES)],
        "split": ["test"] * test + ["train" if test else None] * (IMAGES - test),
        "length": [5000] * IMAGES,
        "modified": [0] * IMAGES,
    }
    table, half = pa.table(columns, LISTING), IMAGES // 2
    reads = [partial(table.slice, start, half) for start in (0, half)]
    return Parts(LISTING, ("x",), [half, half], reads)


def test_a_classifier_whose_labels_do_not_fit_in_memory_is_refused() -> None:
    assert str(labels_refusal(CONFIG, listing_of(100_000), 1280, 16 * 10**9)) == (
        "label: wanted at most 76,997 labels for a classifier of 1,280 features; found 100,000, "
        "whose sums take 20.8 GB at least, and this machine, or its container, has 16.0 GB: use "
        "fewer, broader labels (set label to grandparent or to an expression), or set "
        "classifier to none"
    )


def test_labels_that_fit_or_are_not_used_are_not_refused() -> None:
    many = listing_of(100_000)
    assert labels_refusal(CONFIG, many, 1280, 21 * 10**9) is None
    assert labels_refusal(CONFIG, many, 16, 10**9) is None
    assert labels_refusal(CONFIG, listing_of(131), 1280, 10**9) is None
    assert labels_refusal(dataclasses.replace(CONFIG, classifier="none"), many, 1280, 1) is None
    assert labels_refusal(dataclasses.replace(CONFIG, model="out"), many, 1280, 1) is None
    one = dataclasses.replace(CONFIG, transform="sqrt")
    assert labels_refusal(one, many, 1280, 13 * 10**9) is None


def test_labels_that_only_the_test_side_has_do_not_count() -> None:
    tested = listing_of(100_000, test=80_000)
    assert "found 40,000" in str(labels_refusal(CONFIG, tested, 1280, 8 * 10**9))
    assert labels_refusal(CONFIG, tested, 1280, 9 * 10**9) is None


def test_the_sums_of_few_training_images_are_smaller_unless_they_have_thousands_of_labels() -> None:
    # 20,000 images of 4,000 labels are trained in memory; of 20,000 labels, in tasks.
    few, many = (listing_of(labels, test=IMAGES - 20_000) for labels in (4_000, 20_000))
    assert "take 450.6 MB" in str(labels_refusal(CONFIG, few, 1280, 10**8))
    assert labels_refusal(CONFIG, few, 1280, 451 * 10**6) is None
    assert "take 4.2 GB" in str(labels_refusal(CONFIG, many, 1280, 3 * 10**9))


def test_a_run_with_too_many_labels_ends_with_one_line_and_no_results(
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(label_memory, "_MODELS", 10**12)
    images, output = draw({"Fig": 2, "Lime": 2}), tmp_path / "out"
    arguments = ["--images", str(images), "--output", str(output), "--backbone", graph.backbone]

    assert main(["run", *arguments]) == 2

    assert "fruits: label: wanted at most 0 labels" in capsys.readouterr().err.splitlines()[-1]
    assert not list(output.iterdir())


def test_a_comparison_with_too_many_labels_for_one_classifier_ends_before_the_extraction(
    spark: object,
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(label_memory, "_MODELS", 10**12)
    images, output = draw({"Fig": 2, "Lime": 2}), tmp_path / "out"
    config = RunConfig(images=str(images), output=str(output))
    progress = io.StringIO()

    found = compare(
        config, backbone=[graph.backbone], classifier=["none", "lda"], progress=progress
    )

    assert "; will be refused: label: wanted at most 0 labels" in progress.getvalue()
    assert str(found.networks[0].error).startswith("label: wanted at most 0 labels")
    assert not (output / graph.backbone).exists() or not list((output / graph.backbone).iterdir())


@pytest.mark.spark
def test_without_sums_of_labels_a_run_has_the_same_results(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw({"Fig": 6, "Kiwi": 6})
    with_sums = results(tmp_path / "with", go(tmp_path, "with").report)

    monkeypatch.setattr(label_memory, "label_memory", lambda dimension: 10**9)
    report = go(tmp_path, "without").report

    assert results(tmp_path / "without", report) == with_sums
    chunks = tmp_path / "without" / "features" / "_chunks"
    assert [file.name for file in sorted(chunks.glob("*.moments"))] == [
        "000000.unlabelled.moments",
        "000001.unlabelled.moments",
    ]
    draw({"Plum": 1})
    report = go(tmp_path, "without", components=2).report
    assert "labels" in report["quality"]["skipped"]["drift"]
    monkeypatch.undo()
    draw({"Fig": 1})
    drift = go(tmp_path, "without", classifier="lda").report["quality"]["skipped"]["drift"]
    assert drift == "labels are not compared with the last run, which has no sums of labels"
    assert (tmp_path / "without" / "model" / "_basis.classifier").exists()


@pytest.mark.spark
def test_very_many_labels_are_not_compared_between_the_sides_of_the_split(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = {"Training/Fig": 5, "Training/Kiwi": 5, "Test/Fig": 3, "Test/Kiwi": 3}
    draw(sides)
    assert "drift" not in go(tmp_path, "with", classifier="lda").report["quality"].get(
        "skipped", {}
    )

    # Two labels on two sides: a sum and a mean of two components, and 700 bytes of objects.
    monkeypatch.setattr(label_memory, "_SUMS", 2 * 2 * (16 * 2 + 700) - 1)
    report = go(tmp_path, "without", classifier="lda").report
    drift = report["quality"]["skipped"]["drift"]
    assert drift == "with more than 1 labels, they are not compared with train"
    assert report["quality"]["drift"] == 1
