"""Measures the whole task with ``fruits``, with other engines and with typical notebooks.

    python -m benchmarks [--images DIR] [--count N] [--peer-count N] [--slow-count N]

Each contender runs alone in a separate process, whose memory is measured. All contenders use the
same network, the same random weights and the same machine; slow ones process fewer images. At the
end, the classifier is fitted in several ways: to random features and, if the folder contains
Training and Test, like the sample, to its photographs. All files are written below data/bench.
"""

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders.task import Task
from benchmarks.environments import python_of
from benchmarks.inputs import BACKBONE, CORES, DATA, ROOT, compiled, source_of, subset, weights_file
from benchmarks.ours import fruits_run, last_line
from benchmarks.report import Row, bars, table, write_json
from benchmarks.watch import ROLES, peak, run_watched


@dataclass(frozen=True)
class Contender:
    """One way to do the task.

    Attributes:
        title: the title of its row in the table.
        count: the command-line option with its number of images.
        module: its module in :mod:`benchmarks.contenders`; None for ``fruits run``.
        environment: the name of its environment in ``peers/``; None for the project's own.
        precision: the precision of the compiled network.
    """

    title: str
    count: str
    module: str | None = None
    environment: str | None = None
    precision: str = "f32"


CONTENDERS = {
    "rows": Contender("row UDF, one image per call", "slow_count", "rows"),
    "pandas": Contender("pandas UDF, Keras predict", "peer_count", "pandas_udf"),
    "predict": Contender("predict_batch_udf", "peer_count", "predict_batch"),
    "ray": Contender("Ray Data", "peer_count", "ray_data", "ray"),
    "daft": Contender("Daft", "peer_count", "daft_files", "daft"),
    "f32": Contender("fruits, float32", "count"),
    "bf16": Contender("fruits, bfloat16", "count", precision="bf16"),
    "bound-f32": Contender("bound, float32", "count", "bound"),
    "bound-bf16": Contender("bound, bfloat16", "count", "bound", precision="bf16"),
}
STAGES = ("start", "extract", "fit", "project", "total")


def main() -> None:
    options = _options()
    source = source_of(options.images)
    weights = weights_file()
    graph, cold = compiled(weights)
    rows: list[Row] = []
    for name in options.only:
        contender = CONTENDERS[name]
        images = subset(source, getattr(options, contender.count))
        print(f"{contender.title} ...", flush=True)
        row = _measure(name, contender, images, weights, graph, options)
        rows.append({"name": name, "title": contender.title} | row)
        print(f"  {row.get('error') or row['seconds']}", flush=True)
    report = {"cores": CORES, "components": options.components, "cold_compile": cold, "rows": rows}
    if options.classifier:
        report["classifier"] = _classifier(source)
    print("\n" + describe(report))
    write_json(report, DATA / "compare.json")
    plot(rows, DATA / "compare.png")


def describe(report: dict[str, Any]) -> str:
    """The table, and the conclusions from it."""
    rows = report["rows"]
    by_name = {row["name"]: row for row in rows if "error" not in row}
    ours = by_name.get("f32")
    head = ["", "images", *(f"{stage} s" for stage in STAGES), "images/s", "speedup of fruits"]
    head += ["images/s after start", *(f"{role} MB" for role in ROLES)]
    lines, notes = [], []
    for row in rows:
        if "error" in row:
            notes.append(f"{row['title']} could not be run: {row['error']}")
            continue
        whole = speed(row)
        ratio = (speed(ours) or 0.0) / whole if ours and whole else None
        peaks = [peak(row["memory_mb"], role) for role in ROLES]
        seconds = [row["seconds"].get(stage) for stage in STAGES]
        lines.append([row["title"], row["images"], *seconds, whole, ratio, started(row), *peaks])
    for precision in ("f32", "bf16"):
        if {precision, f"bound-{precision}"} <= by_name.keys():
            share = started(by_name[precision]) / started(by_name[f"bound-{precision}"])
            first = by_name[precision]["first_images"]
            notes.append(
                f"{precision}: {share:.2f} of the bound after the start; first images after "
                f"{first:.1f} s"
            )
    notes.append(f"compiling the network the first time takes {report['cold_compile']:.1f} s more")
    for row in report.get("classifier", []):
        size = f" to {row['size']} labels" if "size" in row else ""
        result = f"{row['seconds']:.2f} s" if "seconds" in row else row["error"]
        if "grouped" in row:
            result += (
                f"; accuracy {row['split']:.1%} on Test, {row['grouped']:.1%} on held-out films"
            )
        notes.append(f"classifier, fit{size}: {row['title']}: {result}")
    notes.append(
        "MB: peak proportional set size (PSS) of the largest process of each kind, and of all"
    )
    return "\n".join([table(lines, head), "", *notes])


def speed(row: Row) -> float | None:
    """Images per second of the whole run; None for the bound, which does only a part."""
    return None if row["name"].startswith("bound") else row["images"] / row["seconds"]["total"]


def started(row: Row) -> float:
    """Images per second of the extraction; if it is not timed, of everything after the start."""
    seconds = row["seconds"]
    work = seconds.get("extract") or seconds["total"] - seconds["start"]
    return float(row.get("steady") or row["images"] / work)


def plot(rows: list[Row], path: Path) -> None:
    """Plots the speed and the memory of each contender."""
    whole = {row["title"]: row for row in rows if "error" not in row and speed(row)}
    if whole:
        speeds = {title: speed(row) or 0.0 for title, row in whole.items()}
        memory = {title: row["memory_mb"]["all"]["pss"] / 1024 for title, row in whole.items()}
        rate = "images per second of the whole run"
        title = f"{BACKBONE} features and PCA on {CORES} cores"
        bars(title, {rate: speeds, "peak memory of all processes, GB": memory}, path, [rate])


def _measure(
    name: str,
    contender: Contender,
    images: Path,
    weights: Path,
    graph: Path,
    options: argparse.Namespace,
) -> Row:
    output = DATA / "runs" / name
    if contender.module is None:
        precision = ("--precision", contender.precision)
        shared = ("--weights", str(weights), "--components", str(options.components))
        return fruits_run(images, output, "--backbone", BACKBONE, *shared, *precision)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    log = output / "log.txt"
    try:
        python = python_of(contender.environment) if contender.environment else sys.executable
    except RuntimeError as error:
        return {"error": str(error)}
    task = Task(
        images=str(images),
        weights=str(weights),
        graph=str(graph),
        precision=contender.precision,
        output=str(output),
        components=options.components,
        cores=CORES,
        launched=time.time(),
    )
    command = [python, "-m", f"benchmarks.contenders.{contender.module}", task.to_json()]
    # Workers that start in another folder must also find the contender's module.
    watched = run_watched(command, log, {"PYTHONPATH": str(ROOT)}, options.timeout)
    if watched.status is None:
        return {"error": f"stopped after {options.timeout:.0f} s"}
    if watched.status:
        return {"error": f"{last_line(log)} (the whole log is {log})"}
    figures = json.loads((output / "figures.json").read_text())
    figures["seconds"]["total"] = watched.seconds
    return {"images": len(task.paths), **figures, "memory_mb": watched.memory}


def _classifier(source: Path) -> list[Row]:
    """The fits of :mod:`benchmarks.classify`, to random features and to photographs."""
    log = DATA / "classify.txt"
    command = [sys.executable, "-m", "benchmarks.classify"]
    if all((source / side).is_dir() for side in ("Training", "Test")):
        command += ["--images", str(source)]
    if run_watched(command, log).status:
        return [
            {"title": "benchmarks.classify", "error": f"{last_line(log)} (the whole log is {log})"}
        ]
    parts: dict[str, list[Row]] = json.loads((DATA / "classify.json").read_text())
    return [row for rows in parts.values() for row in rows]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--images", type=Path, help="folder of JPEG files (default: a synthetic sample)"
    )
    parser.add_argument(
        "--count", type=int, default=10_000, help="number of images for fruits and the bound"
    )
    parser.add_argument(
        "--peer-count", type=int, default=2_000, help="number of images for tools with batches"
    )
    parser.add_argument(
        "--slow-count", type=int, default=300, help="number of images for the row UDF"
    )
    parser.add_argument("--components", type=int, default=100, help="components of the PCA")
    parser.add_argument(
        "--timeout", type=float, default=3600.0, help="maximum seconds of a contender"
    )
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--no-classifier", action="store_false", dest="classifier")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
