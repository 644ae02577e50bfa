"""Measures fruits serve: latency, throughput, cold start and memory, against a plain loop.

    python -m benchmarks.serve --model OUTPUT --images FOLDER [--seconds N] [--clients 1 8 64]

The loop is the same predictor, called in a process of its own with the same photographs in memory:
the most that a server with one worker can reach. Clients are threads of one more process, on the
same cores; each sends one photograph a request and waits for the answer.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.inputs import DATA, ROOT
from benchmarks.report import table, write_json

FOLDER = DATA / "serve"
PORT = 8765
COUNT = 256  # Photographs, over and over.


def main() -> None:
    options = _options()
    if options.part:
        print(json.dumps(_PARTS[options.part](options)))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    loop = _part(options, "loop")
    with _server(options) as (process, cold_start):
        served = [_part(options, "clients", count) for count in options.clients]
        megabytes = _megabytes(process.pid)
    report = {"loop": loop, "served": served, "cold_start": cold_start, "megabytes": megabytes}
    write_json(report, FOLDER / "report.json")
    print(_text(report))


def photographs(options: argparse.Namespace) -> list[bytes]:
    """The same for all parts, in a fixed order."""
    files = sorted(Path(options.images).rglob("*.jpg"))
    step = max(1, len(files) // COUNT)
    return [file.read_bytes() for file in files[::step][:COUNT]]


def loop(options: argparse.Namespace) -> dict[str, float]:
    """The predictor in a plain loop: many at a time, and one by one."""
    from fruits.predictor import Predictor

    predictor, contents = Predictor.load(options.model), photographs(options)
    list(predictor.predict_many(contents[:16]))
    end, done, started = time.perf_counter() + options.seconds, 0, time.perf_counter()
    while time.perf_counter() < end:
        done += len(list(predictor.predict_many(contents[:64])))
    rate = done / (time.perf_counter() - started)
    return {"images_per_second": rate, **_quantiles(_one_by_one(predictor, contents, options))}


def _one_by_one(predictor: Any, contents: list[bytes], options: argparse.Namespace) -> list[float]:
    times, end = [], time.perf_counter() + options.seconds
    for content in cycle(contents):
        started = time.perf_counter()
        if started > end:
            break
        predictor.predict(content)
        times.append(time.perf_counter() - started)
    return times


def clients(options: argparse.Namespace) -> dict[str, float]:
    """So many clients at once."""
    contents = photographs(options)
    times: list[list[float]] = [[] for _ in range(options.count)]
    end = time.perf_counter() + options.seconds

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        for content in islice(cycle(contents), number, None):
            started = time.perf_counter()
            if started > end:
                return
            connection.request("POST", "/predict", content)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            times[number].append(time.perf_counter() - started)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(options.count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [one for some in times for one in some]
    rate = len(every) / (time.perf_counter() - started)
    return {"clients": options.count, "images_per_second": rate, **_quantiles(every)}


def _quantiles(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100)
    return {"p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98]}


@contextmanager
def _server(options: argparse.Namespace) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    """A server, and the seconds until it answered."""
    command = [sys.executable, "-m", "fruits.cli", "serve", "--model", options.model]
    command += ["--port", str(PORT), "--workers", str(options.workers)]
    started = time.perf_counter()
    with (FOLDER / "serve.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, cwd=ROOT)
    try:
        _wait_until_ready(process)
        yield process, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"the server ended; its log is {FOLDER / 'serve.log'}")


def _megabytes(pid: int) -> float:
    """Memory of a process and its children; what they share counts once (PSS)."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    total = 0
    for one in (pid, *map(int, children.stdout.split())):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def _part(options: argparse.Namespace, part: str, count: int = 0) -> Any:
    command = [sys.executable, "-m", "benchmarks.serve", "--model", options.model]
    command += ["--images", options.images, "--seconds", str(options.seconds)]
    command += ["--part", part, "--count", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def _text(report: dict[str, Any]) -> str:
    best = report["loop"]["images_per_second"]
    rows: list[list[Any]] = [
        ["plain loop", best, 1.0, report["loop"]["p50_ms"], report["loop"]["p99_ms"]]
    ]
    for one in report["served"]:
        rate = one["images_per_second"]
        rows.append([f"{one['clients']} clients", rate, rate / best, one["p50_ms"], one["p99_ms"]])
    head = ["", "images/s", "of the loop", "p50 ms", "p99 ms"]
    return (
        f"{table(rows, head)}\n\ncold start {report['cold_start']:.2f} s, "
        f"memory {report['megabytes']:.0f} MB"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve")
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--part", choices=_PARTS)
    parser.add_argument("--count", type=int, default=0)
    return parser.parse_args()


_PARTS = {"loop": loop, "clients": clients}


if __name__ == "__main__":
    main()
