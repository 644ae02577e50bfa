"""The upper limit of the machine: reading, decoding and the compiled network in plain processes.

It runs one process for each core, without Spark, and writes nothing.
"""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders.task import Stages, Task, main
from fruits.images.decode import decode
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import GROUP, load


@dataclass
class Pace:
    """The progress of one process.

    Attributes:
        images: the number of images that it processed.
        decoding: the seconds of reading and decoding.
        network: the seconds of the network.
    """

    images: int = 0
    decoding: float = 0.0
    network: float = 0.0

    @property
    def speed(self) -> float:
        """Images per second."""
        return self.images / (self.decoding + self.network)


def run(task: Task, stage: Stages) -> dict[str, Any]:
    spawn = multiprocessing.get_context("spawn")
    barrier, paces = spawn.Barrier(task.cores + 1), spawn.SimpleQueue()
    processes = [
        spawn.Process(target=_work, args=(task, number, barrier, paces))
        for number in range(task.cores)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    with stage("extract"):
        done: list[Pace] = [paces.get() for _ in processes]
    for process in processes:
        process.join()
    return {
        # The processes end at different times. The sum of their speeds is the speed while all run.
        "steady": sum(pace.speed for pace in done),
        "decoding_per_core": sum(p.images for p in done) / sum(p.decoding for p in done),
        "network_per_core": sum(p.images for p in done) / sum(p.network for p in done),
    }


def _work(task: Task, number: int, barrier: Barrier, paces: Any) -> None:
    graph = CompiledGraph.from_bytes(Path(task.graph).read_bytes())
    network = load(replace(graph, precision=task.precision))
    network(np.zeros((GROUP, graph.input.height, graph.input.width, 3), np.uint8))
    groups = list(_groups(task.paths[number :: task.cores]))
    pace = Pace()
    barrier.wait()
    for group in groups:
        begin = time.perf_counter()
        pixels = np.zeros((len(group), graph.input.height, graph.input.width, 3), np.uint8)
        for row, path in enumerate(group):
            pixels[row] = decode(Path(path).read_bytes(), graph.input)
        between = time.perf_counter()
        network(pixels)
        pace.decoding += between - begin
        pace.network += time.perf_counter() - between
        pace.images += len(group)
    paces.put(pace)


def _groups(paths: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(paths), GROUP):
        yield paths[start : start + GROUP]


if __name__ == "__main__":
    main(run)
