"""Measures ``fruits run`` as a separate process."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.inputs import CORES
from benchmarks.watch import run_watched

FRUITS = str(Path(sys.executable).parent / "fruits")


def fruits_run(images: Path, output: Path, *options: str) -> dict[str, Any]:
    """The figures of one run with a new output.

    Returns:
        images; seconds of start (all stages that have no figure of their own: imports, listing,
        the compiled network, Spark, plots, the end), extract, fit, project and total; images per
        second after the start; seconds until the first images were done; memory_mb by role; or an
        error.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    results, log = output / "results", output / "log.txt"
    begin = time.time()
    command = [FRUITS, "run", "--images", str(images), "--output", str(results), *options]
    watched = run_watched(command, log)
    if watched.status:
        return {"error": last_line(log)}
    report = json.loads((results / "run.json").read_text())
    stages = {name: report["seconds"][name] for name in ("extract", "fit", "project")}
    # The model is saved while other stages run: this counts only the time after them.
    stages["project"] += report["seconds"]["model"]
    start = sum(report["seconds"].get(name, 0.0) for name in ("list", "compile", "session"))
    inside = report["seconds"]["total"]
    done = _done(results / "features")
    return {
        "images": report["counts"]["found"],
        "seconds": {"start": start + watched.seconds - inside, **stages, "total": watched.seconds},
        "steady": steady(done),
        "first_images": done[0][0] - begin,
        "memory_mb": watched.memory,
    }


def steady(done: list[tuple[float, int]]) -> float:
    """Images per second after the start, without the first file of each core, which includes it.

    Args:
        done: the time of completion and the rows of each file of features, in order.
    """
    after = done[CORES - 1 :]
    if len(after) < 2:
        return 0.0
    return sum(rows for _, rows in after[1:]) / (after[-1][0] - after[0][0])


def last_line(log: Path) -> str:
    """The last line of the log of a failed program."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


def _done(features: Path) -> list[tuple[float, int]]:
    files = features.glob("*.parquet")
    return sorted((file.stat().st_mtime, pq.read_metadata(file).num_rows) for file in files)
