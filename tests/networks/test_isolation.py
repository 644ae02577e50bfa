import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from fruits.networks.graph import CompiledGraph
from fruits.networks.isolation import featurize_in_subprocess
from fruits.networks.runtime import featurize
from fruits.runs import pipeline
from fruits.runs.config import RunConfig

ROOT = Path(__file__).parents[2]

# Ends the process that decodes certain contents, like a crash in native code.
POISON = """
import os, signal
import fruits.networks.runtime as engines
decode = engines.decode
def poisoned(content, *options):
    for name in ("SIGSEGV", "SIGKILL"):
        if f"POISON {name}".encode() in content:
            os.kill(os.getpid(), getattr(signal, name))
    return decode(content, *options)
engines.decode = poisoned
"""


def test_features_are_the_same_in_a_subprocess(
    graph: CompiledGraph, draw: Callable[..., Path]
) -> None:
    files = sorted((draw({"Fig": 19}) / "Fig").iterdir())
    contents: list[bytes | Exception] = [file.read_bytes() for file in files]
    contents[4] = b"no picture"
    contents[9] = PermissionError("not for you")
    thumbnails: tuple[list[bytes | None], list[bytes | None]] = ([], [])
    for ours, theirs in zip(
        featurize_in_subprocess(contents, graph, thumbnails[0].append),
        featurize(contents, graph, thumbnails[1].append),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert thumbnails[0] == thumbnails[1]


@pytest.mark.spark
@pytest.mark.usefixtures("kind_of_workers")
def test_only_the_image_that_crashes_the_worker_is_rejected(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 40})
    for number in (3, 31):
        with (root / "Fig" / f"{number}_100.jpg").open("ab") as file:
            file.write(b"POISON SIGSEGV")
    done = run(tmp_path, "--max-rejected", "0.05")
    assert done.returncode == 0, done.stderr
    rejected = pd.read_parquet(tmp_path / "out" / "rejected")
    assert {Path(path).name for path in rejected["path"]} == {"3_100.jpg", "31_100.jpg"}
    assert rejected["error"].str.contains("crashed: .*SIGSEGV").all()
    rows = pd.read_parquet(tmp_path / "out" / "features")
    assert len(rows) == 38
    assert not rows["path"].duplicated().any()
    thumbnails = pd.concat(map(pd.read_parquet, (tmp_path / "out/features/_thumbnails").iterdir()))
    assert set(thumbnails.dropna()["sha256"]) == set(rows["sha256"])


@pytest.mark.spark
def test_a_killed_worker_ends_the_run_with_advice_and_rejects_no_image(
    kind_of_workers: str, spark: SparkSession, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 20})
    # Paths are sorted, so this file is in the second chunk.
    with (root / "Fig" / "7_100.jpg").open("ab") as file:
        file.write(b"POISON SIGKILL")
    done = run(tmp_path, "--chunk", "10")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("fruits: a Python worker was killed")
    setting = {"spark": "spark.executor.cores", "local": "spark.master local[N]"}
    assert setting[kind_of_workers] in done.stderr
    assert len(pd.read_parquet(tmp_path / "out" / "features")) == 10
    (root / "Fig" / "7_100.jpg").unlink()
    config = RunConfig(
        images=str(root), output=f"{tmp_path}/out", backbone="EfficientNetLite0", chunk=10
    )
    assert pipeline.run(config).report["counts"]["extracted"] == 9
    assert len(pd.read_parquet(tmp_path / "out" / "pca")) == 19


def run(tmp_path: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "sitecustomize.py").write_text(POISON)
    arguments = ["--images", f"{tmp_path}/images", "--output", f"{tmp_path}/out"]
    arguments += ["--backbone", "EfficientNetLite0"]
    return subprocess.run(
        [sys.executable, "-m", "fruits.cli", "run", *arguments, *options],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}/site:{ROOT}"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(autouse=True)
def _compiled(graph: CompiledGraph) -> None:
    """Makes sure that the graph is in the cache before a run starts."""
