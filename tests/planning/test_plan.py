import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from estimates import RESOURCES, predicted
from pyspark.sql import SparkSession

from fruits.cli import main
from fruits.networks.graph import CompiledGraph


def test_a_plan_is_text_and_json() -> None:
    plan = predicted(25_000)
    assert json.loads(json.dumps(plan.as_dict()))["images"] == 25_000
    text = plan.text()
    for words in ("25,000, 125.0 MB", "3 chunks of 10,000", "each Python worker", "m7i.xlarge"):
        assert words in text
    assert text.splitlines()[-1].startswith("fits")
    for memory, verdict in ((10**9, "tight"), (9 * 10**8, "refused   memory: 4 tasks")):
        small = predicted(25_000, resources=dataclasses.replace(RESOURCES, memory=memory))
        assert small.text().splitlines()[-1].startswith(verdict)


def test_the_command_prints_only_json_to_stdout(
    spark: SparkSession,
    graph: CompiledGraph,
    draw: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--images", str(draw({"Fig": 9})), "--backbone", graph.backbone]
    assert main(["plan", *arguments, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["images"] == 9
    assert planned["refusal"] is None
    assert planned["resources"]["cores"] == 2
    assert planned["resources"]["heap"] == 3 << 30
