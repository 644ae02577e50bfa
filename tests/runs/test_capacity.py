import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from estimates import CONFIG, PLACE, graph_of
from pyspark.sql import SparkSession

from fruits.cli import main
from fruits.errors import ConfigError, OutputError
from fruits.networks.graph import CompiledGraph
from fruits.runs import work
from fruits.runs.capacity import refusal
from fruits.runs.place import Place, this_place


@pytest.mark.parametrize("memory", [2 << 30, 16 << 30])
@pytest.mark.parametrize("images", [2, 10_000_000])
def test_what_may_fit_is_not_refused(memory: int, images: int) -> None:
    place = dataclasses.replace(PLACE, memory=memory)
    assert refusal(CONFIG, images, graph_of(2048, 100_000_000), place, math.inf) is None


def test_more_workers_than_memory_are_refused_with_the_number_that_fits() -> None:
    place = Place(cores=64, local=True, heap=1 << 30, memory=4 << 30)
    error = refusal(CONFIG, 1000, graph_of(), place, math.inf)
    assert isinstance(error, ConfigError)
    assert "memory: 64 tasks at a time" in str(error)
    assert "run 28 at most (--master local[N])" in str(error)
    assert refusal(CONFIG, 1000, graph_of(), dataclasses.replace(place, cores=28), 1e12) is None
    assert refusal(CONFIG, 20, graph_of(), place, math.inf) is None  # one task for each image
    assert refusal(CONFIG, 1000, graph_of(), dataclasses.replace(place, local=False), 1e12) is None
    tiny = dataclasses.replace(place, memory=300 << 20)
    assert "run it on a larger machine" in str(refusal(CONFIG, 1000, graph_of(), tiny, math.inf))


def test_features_too_many_for_a_pca_here_are_refused_wherever_the_workers_are() -> None:
    place = dataclasses.replace(PLACE, local=False)
    error = refusal(CONFIG, 1000, graph_of(25_088), place, math.inf)
    assert isinstance(error, ConfigError)
    assert "25,088 features of Net" in str(error)
    assert "20.2 GB" in str(error)


def test_an_output_that_the_disk_cannot_hold_is_refused() -> None:
    error = refusal(CONFIG, 1_000_000, graph_of(), PLACE, 1e9)
    assert isinstance(error, OutputError)
    assert "out can take 1.0 GB" in str(error)
    assert refusal(CONFIG, 1_000_000, graph_of(), PLACE, 6e9) is None


def test_a_run_that_cannot_fit_ends_before_it_touches_earlier_results(
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
    place = dataclasses.replace(this_place(spark), memory=500 << 20)
    assert place.local
    monkeypatch.setattr(work, "this_place", lambda spark: place)
    arguments = ["--images", str(draw({"Fig": 9})), "--output", str(tmp_path / "out")]
    assert main(["run", *arguments, "--backbone", graph.backbone, "--overwrite"]) == 2
    assert "fruits: memory: 2 tasks at a time" in capsys.readouterr().err
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert names == ["_fruits.json", "run.json"]
