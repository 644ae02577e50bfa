"""Measures fruits serve and other servers: latency, throughput, cold start and memory.

    python -m benchmarks.serve --model OUTPUT --images FOLDER [--seconds N] [--clients 1 8 64]
        [--contenders fruits gradio flask]

The first line of the table is a plain loop: the same predictor in a separate process with the same
photographs in memory. This is the upper limit of a server with one worker. Clients are threads of
another process on the same cores; each one sends one photograph per request and waits for the
response. A cold start ends with the response to the first photograph. The other servers
(benchmarks/servers.py) are installed in separate environments below data/bench.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.inputs import ROOT
from benchmarks.report import table, write_json
from benchmarks.servers import CONTENDERS, FOLDER, PORT

COUNT = 256  # The number of different photographs, which are sent repeatedly.
START_SECONDS = 300  # The maximum time until the response to the first photograph.


def main() -> None:
    options = _options()
    if options.part:
        print(json.dumps(_PARTS[options.part](options)))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"loop": _part(options, "loop"), "servers": {}}
    for name in options.contenders:
        report["servers"][name] = _measured(options, name)
    write_json(report, FOLDER / "report.json")
    print(_text(report))


def _measured(options: argparse.Namespace, name: str) -> dict[str, Any]:
    with _server(options, name) as (process, cold_start):
        served = [_part(options, "clients", name, count) for count in options.clients]
        memory = _megabytes(process.pid)
    return {"served": served, "cold_start": cold_start, "megabytes": memory}


def photographs(options: argparse.Namespace) -> list[bytes]:
    """The photographs in a fixed order, the same for all parts."""
    files = sorted(Path(options.images).rglob("*.jpg"))
    step = max(1, len(files) // COUNT)
    return [file.read_bytes() for file in files[::step][:COUNT]]


def loop(options: argparse.Namespace) -> dict[str, float]:
    """The predictor in a plain loop: with many photographs per call, and with one per call."""
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
    """The figures of several clients at the same time."""
    contents, contender = photographs(options), CONTENDERS[options.contender]
    times: list[list[float]] = [[] for _ in range(options.count)]
    end = time.perf_counter() + options.seconds

    def ask(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", PORT, timeout=600)
        for content in islice(cycle(contents), number, None):
            started = time.perf_counter()
            # At least two requests, even to a slow server, because quantiles need two values.
            if started > end and len(times[number]) >= 2:
                return
            contender.ask(connection, content)
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
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98]}


@contextmanager
def _server(
    options: argparse.Namespace, name: str
) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    """Starts a server; also returns the seconds until its first response."""
    contender, log = CONTENDERS[name], FOLDER / f"{name}.log"
    # It may have to be installed first, which is not a part of its start.
    command = contender.command(options)
    [content] = photographs(options)[:1]
    started = time.perf_counter()
    process = contender.start(command, log)
    try:
        while not _answers(name, content):
            if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                raise RuntimeError(f"{contender.title} does not answer; its log is {log}")
            time.sleep(0.02)
        yield process, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def _answers(name: str, content: bytes) -> bool:
    connection = HTTPConnection("127.0.0.1", PORT, timeout=60)
    try:
        CONTENDERS[name].ask(connection, content)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True


def _megabytes(pid: int) -> float:
    """The memory of a process and all its descendants; shared pages count once (PSS)."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    total = sum(_megabytes(int(child)) for child in children.stdout.split())
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total += int(line.split()[1]) / 1024
    return total


def _part(options: argparse.Namespace, part: str, contender: str = "fruits", count: int = 0) -> Any:
    command = [sys.executable, "-m", "benchmarks.serve", "--model", options.model]
    command += ["--images", options.images, "--seconds", str(options.seconds)]
    command += ["--part", part, "--contender", contender, "--count", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def _text(report: dict[str, Any]) -> str:
    loop, servers = report["loop"], report["servers"]
    best = loop["images_per_second"]
    rows: list[list[Any]] = [["plain loop", "", best, 1.0, loop["p50_ms"], loop["p99_ms"]]]
    for name, server in servers.items():
        for one in server["served"]:
            rate = one["images_per_second"]
            row = [CONTENDERS[name].title, one["clients"], rate, rate / best]
            rows.append([*row, one["p50_ms"], one["p99_ms"]])
    head = ["", "clients", "images/s", "of the loop", "p50 ms", "p99 ms"]
    sizes = [
        [CONTENDERS[name].title, server["cold_start"], server["megabytes"]]
        for name, server in servers.items()
    ]
    return f"{table(rows, head)}\n\n{table(sizes, ['', 'cold start s', 'memory MB'])}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve")
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--part", choices=_PARTS)
    parser.add_argument("--contender", choices=CONTENDERS, default="fruits")
    parser.add_argument("--count", type=int, default=0)
    return parser.parse_args()


_PARTS = {"loop": loop, "clients": clients}


if __name__ == "__main__":
    main()
