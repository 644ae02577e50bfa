"""What there is for a run: cores, memory, and the disk of a local output."""

import math
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

from fruits.runs.made import RESULTS
from fruits.storage.location import filesystem_of, is_local


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
    folder, taken = Path(path), 0
    for result in (folder / name for name in RESULTS):
        for file in (result, *result.rglob("*")):
            with suppress(OSError):  # Not there, or gone meanwhile.
                taken += file.stat().st_size
    while not folder.exists():
        folder = folder.parent
    return float(shutil.disk_usage(folder).free + taken)


def _limit(file: Path) -> float:
    try:
        return float(file.read_text().strip().replace("max", "inf"))
    except OSError:
        return math.inf
