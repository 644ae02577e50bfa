"""Measures the costs of a run except decoding and the network, for up to a hundred million images.

    python -m benchmarks.scale [--files N] [--folders N] [--name-bytes N] [--growths N]
                               [--chunk N] [--classifier NAME] [--phases NAME ...]

The files are in a synthetic file system, and the network is a stub that takes no time. The
remaining costs are listing, comparing with known files, committing, fitting and publishing. Runs
keep two components and write no CSV file. Each phase is a separate process, whose memory is
measured from outside:

    prepare     instead of a first run: commits features of all files, without Spark
    first       a run on all files
    unchanged   the same run again
    grown       a run after 100 files were added: lists, compares, commits
    plan        ``fruits plan``
    growths     the given number of further runs, each after 100 files were added
"""

import argparse
import json
import os
import shutil
import sys
from typing import Any

import fruits.runs  # noqa: F401  # First, as in the command `fruits`: it chooses Arrow's allocator.
from benchmarks.inputs import DATA, ROOT
from benchmarks.report import table, write_json
from benchmarks.synthetic import PLACE, Shape, install, timed
from benchmarks.watch import run_watched

FOLDER = DATA / "scale"
ADDED = 100
ROLES = ("driver", "jvm", "worker", "all")
PHASES = ("first", "unchanged", "grown", "plan")
STAGES = (
    *("list", "check", "session", "extract", "fit", "classify", "project", "predictor"),
    *("quality", "report", "total"),
)


def main() -> None:
    options = _options()
    os.environ["PYTHONPATH"] = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    if options.phase:
        _run_phase(options)
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    phases: list[dict[str, Any]] = []
    for phase, files in _plan(options):
        phases.append(watched(phase, files, options))
        print(f"{phase}: {phases[-1]['wall']:.1f} s", flush=True)
    print("\n" + describe(phases))
    write_json({"options": vars(options), "phases": phases}, FOLDER / "scale.json")


def _plan(options: argparse.Namespace) -> list[tuple[str, int]]:
    """The phases, and the number of files in each."""
    plan: list[tuple[str, int]] = []
    for phase in [*options.phases, *["grown"] * options.growths]:
        files = plan[-1][1] if plan else options.files
        plan.append((phase, files + ADDED if phase == "grown" else files))
    return plan


def watched(phase: str, files: int, options: argparse.Namespace) -> dict[str, Any]:
    """Runs a phase in a separate process; returns the seconds of each stage and the peaks in MB."""
    shape = Shape(files, options.folders, options.name_bytes)
    result, log = FOLDER / "result.json", FOLDER / "log.txt"
    result.unlink(missing_ok=True)
    names = ["--phase", phase, "--chunk", options.chunk, "--classifier", options.classifier]
    command = [sys.executable, "-m", "benchmarks.scale", *map(str, names)]
    done = run_watched(command, log, shape.variables())
    if done.status:
        raise SystemExit(f"{phase} failed: {log.read_text()[-2000:]}")
    seconds = json.loads(result.read_text())
    return {"phase": phase, "files": files, "wall": done.seconds} | {
        "seconds": seconds,
        "memory_mb": done.memory,
    }


def describe(phases: list[dict[str, Any]]) -> str:
    lines = [
        [
            f"{one['phase']}, {one['files']:,}",
            *(one["seconds"].get(stage) for stage in STAGES),
            one["wall"],
            *(_peak(one, role) for role in ROLES),
        ]
        for one in phases
    ]
    head = ["phase, files", *(f"{stage} s" for stage in STAGES), "wall s"]
    return table(lines, [*head, *(f"{role} MB" for role in ROLES)])


def _peak(phase: dict[str, Any], role: str) -> float | None:
    """The peak in MB; for all processes together, each process counts its share of common pages."""
    peaks: dict[str, float] = phase["memory_mb"].get(role, {})
    return peaks.get("pss" if role == "all" else "rss")


def _run_phase(options: argparse.Namespace) -> None:
    """Runs one phase, in the measured process."""
    from benchmarks.prepared import prepare
    from fruits.planning.estimate import estimate
    from fruits.runs.config import RunConfig
    from fruits.runs.pipeline import run
    from fruits.runs.progress import Stages
    from fruits.spark.own_session import own_spark

    install()
    config = RunConfig(
        images=PLACE,
        output=str(FOLDER / "output"),
        chunk=options.chunk,
        classifier=options.classifier,
        components=2,
        csv=False,
    )
    if options.phase == "prepare":
        stages = Stages(sys.stderr)
        _, seconds = timed(prepare, config, stages)
        _write(stages.seconds | {"call": seconds})
        return
    with own_spark():
        done, seconds = timed(estimate if options.phase == "plan" else run, config)
    stages = done.seconds if options.phase == "plan" else done.report["seconds"]
    _write(dict(stages) | {"call": seconds})


def _write(seconds: dict[str, float]) -> None:
    (FOLDER / "result.json").write_text(json.dumps(seconds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="(%(default)s)")
    parser.add_argument("--folders", type=int, default=131, help="(%(default)s)")
    parser.add_argument(
        "--name-bytes", type=int, default=14, help="length of file names (%(default)s)"
    )
    parser.add_argument(
        "--growths", type=int, default=0, help="number of further runs (%(default)s)"
    )
    parser.add_argument("--chunk", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--classifier", default="none", help="(%(default)s)")
    parser.add_argument(
        "--phases",
        nargs="+",
        choices=("prepare", *PHASES),
        default=PHASES,
        help="(all but prepare)",
    )
    parser.add_argument("--phase", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
