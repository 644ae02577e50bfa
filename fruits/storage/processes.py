"""Which process is which, on Linux: whether the owner of a lock still runs.

A process id says little: another machine, and each container, counts its own from 1, and ids are
used again. Boot, namespace of process ids, id and start time together name one process. Where any
of them is not known, nothing is said of a process.
"""

import os
from dataclasses import dataclass
from typing import Any

# Kernels have no larger ids.
_MOST_PID = 2**22

_ENDED = ("Z", "X", "x")
"""States of processes that ended and whose parents have not noticed yet."""


@dataclass(frozen=True)
class Process:
    """One process, among those of all machines.

    Attributes:
        boot: a random id of this start of the kernel.
        namespace: of process ids, such as ``pid:[4026531836]``; each container has its own.
        pid: its id in that namespace.
        started: ticks from the boot to its start.
    """

    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> "Process | None":
        """This process; None where the system does not say, as outside of Linux."""
        try:
            # Otherwise /proc is that of another namespace, whose process ids differ.
            if int(os.readlink("/proc/self")) != os.getpid():
                return None
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                boot = file.read().strip()
            namespace = os.readlink("/proc/self/ns/pid")
            _, started = _state(os.getpid())
        except (OSError, ValueError):
            return None
        return cls(boot, namespace, os.getpid(), started)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Process | None":
        """The inverse of :func:`dataclasses.asdict`; None where a value is missing or absurd."""
        boot, namespace = content.get("boot"), content.get("namespace")
        pid, started = content.get("pid"), content.get("started")
        if not (isinstance(boot, str) and isinstance(namespace, str)):
            return None
        if type(pid) is not int or type(started) is not int or not 0 < pid <= _MOST_PID:
            return None
        return cls(boot, namespace, pid, started)

    def runs(self) -> bool | None:
        """Whether it is running; None where that cannot be known from here."""
        here = Process.current()
        if here is None or (self.boot, self.namespace) != (here.boot, here.namespace):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # It exists, and belongs to another user.
        try:
            state, started = _state(self.pid)
        except (OSError, ValueError):
            return None  # The system hides the processes of other users.
        return state not in _ENDED and started == self.started


def _state(pid: int) -> tuple[str, int]:
    """State and start of a process of this namespace, in ticks since the boot."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        # The name, in brackets, may contain any character, also brackets and spaces.
        fields = file.read().rpartition(b")")[2].split()
    if len(fields) < 20:
        raise ValueError(f"/proc/{pid}/stat: wanted 22 fields or more")
    return fields[0].decode(), int(fields[19])
