"""A run whose detector crashes its process."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bright_fruit import (
    assert_rows_are_those_of_the_boxes,
    config,
    counts,
    rows,
    write_fruit,
    write_nets,
)
from PIL import Image
from pyspark.sql import SparkSession

from fruits.networks import batch
from fruits.runs.pipeline import run

# Ends the process in which a detector gets certain pictures, like broken native code, or like the
# kernel if memory runs out.
POISON = """
import os, signal
import fruits.networks.objects as objects
finder_of = objects.finder_of
def poisoned(graph):
    find = finder_of(graph)
    def finding(image):
        if name := {(1, 2, 3): "SIGSEGV", (3, 2, 1): "SIGKILL"}.get(image.getpixel((0, 0))):
            os.kill(os.getpid(), getattr(signal, name))
        return find(image)
    return finding
objects.finder_of = poisoned
"""


def test_a_detector_crash_loses_no_other_photograph_and_the_next_run_continues(
    spark: SparkSession, graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "SECONDS", 0.01)
    images, output = tmp_path / "fruit", tmp_path / "out"
    images.mkdir()
    write_fruit(images)
    nets = write_nets(tmp_path)
    for name, colour in {"Lemon/3.png": (1, 2, 3), "Plum/4.png": (3, 2, 1)}.items():
        picture = Image.open(images / name)
        picture.putpixel((0, 0), colour)
        picture.save(images / name)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(POISON)
    command = [sys.executable, "-m", "fruits.cli", "run", "--images", images, "--output", output]
    command += ["--backbone", nets / "colours", "--crop", f"detector:{nets / 'halves'}"]
    command += ["--components", "3", "--max-rejected", "0.5", "--chunk", "6"]
    path = f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("fruits: a Python worker was killed")
    # The first chunk is committed, without the photograph that crashed the detector.
    there = {one.partition("#xywh")[0] for one in rows(output, "features")["path"]}
    assert there == {f"file:{images}/Lemon/{number}.png" for number in (0, 1, 2, 4, 5)}
    run(config(nets, images, output))
    # The crash is recorded, like one of a decoder, so the photograph is still rejected.
    assert list(counts(output).items()) == [
        *[("found", 13), ("extracted", 6), ("reused", 5), ("rejected", 2), ("boxes", 15)]
    ]
    assert_rows_are_those_of_the_boxes(output, nets, images, without="Lemon/3.png")
