import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from estimates import CONFIG as WITH_LABELS
from estimates import RESOURCES, graph_of
from pyspark.sql import SparkSession

from fruits.cli import main
from fruits.errors import ConfigError, OutputError
from fruits.networks.graph import CompiledGraph
from fruits.planning.capacity import refusal
from fruits.planning.resources import Resources, session_resources
from fruits.runs import context
from fruits.sources.listing import LISTING
from fruits.sources.parts import Parts

CONFIG = dataclasses.replace(WITH_LABELS, classifier="none", components=0.9)


def listing_of(images: int) -> Parts:
    """Images of which only the number is needed."""
    return Parts(LISTING, (), [images], [LISTING.empty_table])


@pytest.mark.parametrize("memory", [2 << 30, 16 << 30])
@pytest.mark.parametrize("images", [2, 10_000_000])
def test_a_run_that_may_fit_is_not_refused(memory: int, images: int) -> None:
    resources = dataclasses.replace(RESOURCES, memory=memory)
    assert (
        refusal(CONFIG, listing_of(images), graph_of(2048, 100_000_000), resources, math.inf)
        is None
    )


def test_more_workers_than_memory_are_refused_with_the_number_that_fits() -> None:
    resources = Resources(cores=64, local=True, heap=1 << 30, memory=4 << 30)
    error = refusal(CONFIG, listing_of(1000), graph_of(), resources, math.inf)
    assert isinstance(error, ConfigError)
    assert "memory: 64 tasks at a time" in str(error)
    assert "run 28 at most (spark.master local[N] in spark-defaults.conf" in str(error)
    assert (
        refusal(
            CONFIG, listing_of(1000), graph_of(), dataclasses.replace(resources, cores=28), 1e12
        )
        is None
    )
    assert (
        refusal(CONFIG, listing_of(20), graph_of(), resources, math.inf) is None
    )  # one task for each image
    assert (
        refusal(
            CONFIG, listing_of(1000), graph_of(), dataclasses.replace(resources, local=False), 1e12
        )
        is None
    )
    tiny = dataclasses.replace(resources, memory=300 << 20)
    assert "run it on a larger machine" in str(
        refusal(CONFIG, listing_of(1000), graph_of(), tiny, math.inf)
    )


def test_too_many_features_for_the_drivers_pca_are_refused_also_on_a_cluster() -> None:
    resources = dataclasses.replace(RESOURCES, local=False)
    error = refusal(CONFIG, listing_of(1000), graph_of(25_088), resources, math.inf)
    assert isinstance(error, ConfigError)
    assert "25,088 features of Net" in str(error)
    assert "20.2 GB" in str(error)


def test_an_output_that_the_disk_cannot_hold_is_refused() -> None:
    error = refusal(CONFIG, listing_of(1_000_000), graph_of(), RESOURCES, 1e9)
    assert isinstance(error, OutputError)
    assert "out has 1.0 GB free" in str(error)
    assert refusal(CONFIG, listing_of(1_000_000), graph_of(), RESOURCES, 6e9) is None


def test_a_run_that_cannot_fit_does_not_change_earlier_results(
    spark: SparkSession,
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{}")
    (tmp_path / "out" / "_fruits.json").write_text('{"made": ["run.json"]}')
    resources = dataclasses.replace(session_resources(spark), memory=500 << 20)
    assert resources.local
    monkeypatch.setattr(context, "session_resources", lambda spark: resources)
    arguments = ["--images", str(draw({"Fig": 9})), "--output", str(tmp_path / "out")]
    assert main(["run", *arguments, "--backbone", graph.backbone, "--overwrite"]) == 2
    assert "fruits: memory: 2 tasks at a time" in capsys.readouterr().err
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert names == ["_fruits.json", "run.json"]
