"""Runs a program and measures the memory of all its processes through /proc."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Child processes inherit this variable, so they are found even if they have left the process tree.
MARK = "FRUITS_BENCHMARK"
# Reading the peak resident size is cheap; for the proportional size, the kernel reads page tables.
SECONDS_BETWEEN_LOOKS = 0.2
LOOKS_BETWEEN_WALKS = 5

Memory = dict[str, dict[str, float]]

# The roles of a Spark program, see `Watched`.
ROLES = ("jvm", "driver", "worker", "all")


@dataclass
class Watched:
    """The result of a program.

    Attributes:
        status: its exit status; None after a timeout.
        seconds: from its start to its end.
        memory: peaks in MB by role: ``jvm``, ``driver`` (the program itself), ``worker`` (the
            largest other Python process), ``service`` (anything else), each as ``rss`` and as
            ``pss``, which divides shared pages among processes; and ``all``, the largest sum of
            ``pss``.
    """

    status: int | None
    seconds: float
    memory: Memory = field(default_factory=dict)


def peak(memory: Memory, role: str) -> float | None:
    """The peak in MB of a role, as ``pss``; None if there was no such process."""
    return memory.get(role, {}).get("pss")


def run_watched(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Watched:
    """Runs a command to its end, and measures its memory.

    Args:
        command: the program and its arguments.
        log: the file for stdout and stderr.
        environment: variables in addition to those of this process.
        timeout: the seconds after which all its processes are killed.
    """
    mark = f"{MARK}={uuid.uuid4().hex}"
    variables = {**os.environ, **(environment or {}), MARK: mark.partition("=")[2]}
    begin = time.monotonic()
    with log.open("w") as output:
        root = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=variables)
    family = _Family(mark.encode(), root.pid)
    last = begin + (timeout or float("inf"))
    looks = 0
    try:
        while (status := root.poll()) is None and time.monotonic() < last:
            family.look(walk=looks % LOOKS_BETWEEN_WALKS == 0)
            looks += 1
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return Watched(status, time.monotonic() - begin, family.memory)
    finally:
        family.end()
        root.wait()


class _Family:
    """The processes with a mark in their environment, and the peaks of their memory."""

    def __init__(self, mark: bytes, root: int) -> None:
        self.memory: Memory = {}
        self._mark = mark
        self._root = root
        self._known: dict[int, bool] = {}

    def look(self, walk: bool) -> None:
        """Records the memory of each process now, and with ``walk`` also the sum."""
        total = 0.0
        for pid in self._members():
            role = _role(pid, self._root)
            if role is None:
                continue
            self._note(role, "rss", _kilobytes(pid, "status", "VmHWM"))
            if walk:
                share = _kilobytes(pid, "smaps_rollup", "Pss")
                self._note(role, "pss", share)
                total += share
        if walk:
            self._note("all", "pss", total)

    def end(self) -> None:
        """Kills the remaining processes."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 5
            while (left := list(self._members())) and time.monotonic() < deadline:
                for pid in left:
                    try:
                        os.kill(pid, sign)
                    except ProcessLookupError:
                        continue
                time.sleep(0.5)

    def _members(self) -> Iterator[int]:
        pids = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
        self._known = {pid: known for pid, known in self._known.items() if pid in pids}
        for pid in pids:
            # A process that is starting or has ended has neither variables nor arguments.
            if pid not in self._known and (variables := _read(pid, "environ")):
                self._known[pid] = self._mark in variables
            if self._known.get(pid) and _read(pid, "cmdline"):
                yield pid

    def _note(self, role: str, kind: str, kilobytes: float) -> None:
        peaks = self.memory.setdefault(role, {})
        peaks[kind] = max(peaks.get(kind, 0.0), round(kilobytes / 1024, 1))


def _role(pid: int, root: int) -> str | None:
    arguments = _read(pid, "cmdline").decode(errors="replace").split("\0")
    program = os.path.basename(arguments[0])
    if pid == root:
        return "driver"
    if program == "java":
        return "jvm"
    if not program.startswith(("python", "ray::")) or any("/ray/" in a for a in arguments[1:]):
        return "service"
    # The network is compiled in a process that ends before the measured work begins.
    return "compile" if "fruits.networks.compile" in arguments else "worker"


def _kilobytes(pid: int, file: str, name: str) -> float:
    for line in _read(pid, file).decode().splitlines():
        if line.startswith(name + ":"):
            return float(line.split()[1])
    return 0.0


def _read(pid: int, file: str) -> bytes:
    try:
        return Path("/proc", str(pid), file).read_bytes()
    except OSError:  # The process has ended, or belongs to another user.
        return b""
