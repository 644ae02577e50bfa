"""The resources of a run: cores, memory, and the disk of a local output."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fruits.runs.output_record import RESULTS
from fruits.storage.location import filesystem_of, is_local

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Resources:
    """The cores and the memory that a run has.

    Attributes:
        cores: The number of tasks at a time.
        local: Whether the workers run on this machine.
        heap: The maximum heap of the driver's JVM, in bytes; None if the run starts no Spark.
        memory: The memory of this machine or container for all processes, in bytes.
    """

    cores: int
    local: bool
    heap: int | None
    memory: int


def session_resources(spark: SparkSession) -> Resources:
    """The resources of the runs of a session."""
    context = spark.sparkContext
    heap = context._jvm.org.apache.spark.network.util.JavaUtils.byteStringAsBytes(  # type: ignore[union-attr]
        context.getConf().get("spark.driver.memory", "1g")
    )
    local = str(context.master).startswith("local")
    return Resources(context.defaultParallelism, local, heap, available_memory())


def local_resources(tasks: int) -> Resources:
    """The resources of a run without Spark.

    Args:
        tasks: The number of tasks at a time.
    """
    return Resources(tasks, True, None, available_memory())


_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def available_cores(proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """The cores for this process, within the limits of control groups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [float(cores or 1)]
    with suppress(OSError):  # Not on Linux, so there are no control groups.
        limits += [_quota(*of_group) for of_group in _groups(proc, cgroup, "cpu")]
    return max(1, math.ceil(min(limits)))


def available_memory(proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """The bytes of memory and swap on this machine, within the limits of control groups."""
    try:
        pairs = (line.split(":") for line in (proc / "meminfo").read_text().splitlines())
        kilobytes = {name: int(value.split()[0]) for name, value in pairs}
    except OSError:  # Not on Linux, so there are no control groups either.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    swap = kilobytes["SwapTotal"] * 1024
    limits: list[float] = [kilobytes["MemTotal"] * 1024 + swap]
    for group, version in _groups(proc, cgroup, "memory"):
        name = "memory.limit_in_bytes" if version == 1 else "memory.max"
        limits.append(_limit(group / name) + min(swap, _limit(group / "memory.swap.max")))
    return int(min(limits))


def _groups(proc: Path, cgroup: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of the control groups of this process, and their version: 1 or 2."""
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 2 lists no controllers; version 1 has a folder for each of them.
        root, version = (cgroup / controller, 1) if controllers else (cgroup, 2)
        own = root / path.lstrip("/")
        yield from ((group, version) for group in (own, *own.parents) if group.is_relative_to(root))


def available_disk(output: str) -> float:
    """The bytes for a local output, including its earlier results; infinite for other stores."""
    filesystem, path = filesystem_of(output)
    if not is_local(filesystem):
        return math.inf
    folder, taken = Path(path), 0
    for result in (folder / name for name in RESULTS):
        for file in (result, *result.rglob("*")):
            with suppress(OSError):  # It does not exist, or was deleted in the meantime.
                taken += file.stat().st_size
    while not folder.exists():
        folder = folder.parent
    return float(shutil.disk_usage(folder).free + taken)


def _limit(file: Path) -> float:
    try:
        return float(file.read_text().strip().replace("max", "inf"))
    except OSError:
        return math.inf


def _quota(group: Path, version: int) -> float:
    """The cores that a control group may use at a time; infinite without a limit."""
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if version == 1 else ("cpu.max",)
    try:
        quota, period = " ".join((group / name).read_text() for name in names).split()
    except OSError:
        return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)
