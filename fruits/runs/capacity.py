"""Whether a run can fit: the memory of this machine and the disk of a local output.

Only what surely cannot fit is refused: what is counted here is less than any run takes.
"""

import math
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

from fruits.errors import ConfigError, FruitsError, OutputError
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.made import RESULTS
from fruits.storage.location import filesystem_of, is_local

# Measured: 0.9 GB, 0.3 GB and, without pages that processes share, 0.25 GB.
LEAST_JVM, LEAST_DRIVER, LEAST_WORKER = 300 * 10**6, 100 * 10**6, 120 * 10**6


# Copies of the graph in a worker: the archive, and the engine's own, in bfloat16 at the smallest.
LEAST_GRAPHS = 1.5


# d x d matrices of float64 in the driver: scatter, covariance, eigenvectors, LAPACK's two.
LEAST_MATRICES = 4


# Share of their bytes that features keep in Parquet; measured: 1.0 with random weights, and with
# trained ones, of which many are zero, 0.5.
LEAST_STORED = 0.25


@dataclass(frozen=True)
class Place:
    """Where a run takes place.

    Attributes:
        cores: tasks at a time.
        local: whether the workers run on this machine.
        heap: the most that the driver's JVM takes for its heap, in bytes.
        memory: what the processes of this machine or container can have in all, in bytes.
    """

    cores: int
    local: bool
    heap: int
    memory: int


def this_place(spark: SparkSession) -> Place:
    """Where the runs of a session take place."""
    context = spark.sparkContext
    heap = context._jvm.org.apache.spark.network.util.JavaUtils.byteStringAsBytes(  # type: ignore[union-attr]
        context.getConf().get("spark.driver.memory", "1g")
    )
    local = str(context.master).startswith("local")
    return Place(context.defaultParallelism, local, heap, memory_there())


def require_capacity(config: RunConfig, images: int, graph: CompiledGraph, place: Place) -> None:
    """Refuses a run that cannot fit.

    Raises:
        ConfigError: the memory is too small.
        OutputError: the disk is too small.
    """
    if error := refusal(config, images, graph, place, disk_there(config.output)):
        raise error


def refusal(
    config: RunConfig, images: int, graph: CompiledGraph, place: Place, disk: float
) -> FruitsError | None:
    """The error that says why a run cannot fit and what to change; None where it may.

    Args:
        config: what to do.
        images: how many there are.
        graph: the backbone.
        place: where.
        disk: bytes that the output may take; infinite if that is not known.
    """
    there = f"this machine, or its container, has {size(place.memory)}"
    driver = LEAST_DRIVER + LEAST_MATRICES * 8 * graph.dimension**2
    if driver > place.memory:
        return ConfigError(
            f"backbone: wanted one whose PCA fits in memory; that of the {graph.dimension:,} "
            f"features of {graph.backbone} takes {size(driver)} at least, and {there}: take a "
            "backbone with fewer features, or a larger machine"
        )
    worker = LEAST_WORKER + LEAST_GRAPHS * sum(map(len, graph.parts.values()))
    workers, room = min(place.cores, images), place.memory - LEAST_JVM - LEAST_DRIVER
    if place.local and workers * worker > room:
        return ConfigError(
            f"memory: {workers} tasks at a time with {graph.backbone} take "
            f"{size(place.memory - room + workers * worker)} at least, and {there}: run "
            + (f"{int(room // worker)} at most (--master local[N])" if room > worker else "it")
            + (", or" if room > worker else "")
            + " on a larger machine, or with a smaller backbone"
        )
    usable = images * (1 - config.max_rejected)
    output = usable * 4 * graph.dimension * LEAST_STORED
    if isinstance(config.components, int):
        output += usable * 4 * config.components * LEAST_STORED
    if output > disk:
        return OutputError(
            f"output: {config.output} can take {size(disk)}, and the results of {images:,} images "
            f"are {size(output)} at least: free some space, or give another output"
        )
    return None


def memory_there(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that processes here can have: memory and swap, within the limits of control groups."""
    try:
        pairs = (line.split(":") for line in (proc / "meminfo").read_text().splitlines())
        kilobytes = {name: int(value.split()[0]) for name, value in pairs}
    except OSError:  # Not a Linux; there are no control groups either.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    swap = kilobytes["SwapTotal"] * 1024
    limits: list[float] = [kilobytes["MemTotal"] * 1024 + swap]
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        # Version 2 names no controllers; version 1 has a folder for each.
        root = cgroup / "memory" if controllers else cgroup
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        own = root / path.lstrip("/")
        limits += [
            _limit(group / name) + min(swap, _limit(group / "memory.swap.max"))
            for group in (own, *own.parents)
            if group.is_relative_to(root)
        ]
    return int(min(limits))


def disk_there(output: str) -> float:
    """Bytes that a local output may have, earlier results included; infinite for other stores."""
    filesystem, path = filesystem_of(output)
    if not is_local(filesystem):
        return math.inf
    folder, held = Path(path), 0
    for result in (folder / name for name in RESULTS):
        for file in (result, *result.rglob("*")):
            with suppress(OSError):  # Not there, or gone meanwhile.
                held += file.stat().st_size
    while not folder.exists():
        folder = folder.parent
    return float(shutil.disk_usage(folder).free + held)


def size(count: float) -> str:
    """Bytes for people to read."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_:
            return f"{count / bytes_:,.1f} {unit}"
    return f"{count:.0f} B"


def _limit(file: Path) -> float:
    try:
        return float(file.read_text().strip().replace("max", "inf"))
    except OSError:
        return math.inf
