"""What is known about processes: how one ended, and whether the owner of a lock still runs.

Locks identify processes on Linux. A process id is not enough: every machine and every container
counts from 1, and ids are used again. The boot id, the PID namespace, the process id and the start
time together identify one process. If any of them is unknown, the process counts as unknown.
"""

import os
import signal
from dataclasses import dataclass
from typing import Any

# The largest process id of the kernel.
_MOST_PID = 2**22

_ENDED = ("Z", "X", "x")
"""States of processes that have ended but still have an entry in ``/proc``."""


@dataclass(frozen=True)
class Process:
    """The identity of one process among those of all machines.

    Attributes:
        boot: The random id that the kernel chose at boot.
        namespace: The PID namespace, such as ``pid:[4026531836]``; each container has its own.
        pid: The process id in that namespace.
        started: The start time, in clock ticks since the boot.
    """

    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> "Process | None":
        """This process; None if the system does not tell, as on other systems than Linux."""
        try:
            # If they differ, /proc belongs to another PID namespace.
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
        """The inverse of :func:`dataclasses.asdict`; None if a value is missing or invalid."""
        boot, namespace = content.get("boot"), content.get("namespace")
        pid, started = content.get("pid"), content.get("started")
        if not (isinstance(boot, str) and isinstance(namespace, str)):
            return None
        if type(pid) is not int or type(started) is not int or not 0 < pid <= _MOST_PID:
            return None
        return cls(boot, namespace, pid, started)

    def runs(self) -> bool | None:
        """Whether the process is running; None if that cannot be determined from here."""
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


def ending(status: int) -> str:
    """How a process ended, such as "SIGSEGV", "signal 35" (it has no name) or "status 3".

    Args:
        status: The exit status; for a signal, its negative number, as of :mod:`subprocess`.
    """
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # Most real-time signals have no name.
        return f"signal {-status}"


def _state(pid: int) -> tuple[str, int]:
    """State and start time (in clock ticks since the boot) of a process of this namespace."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        # The name stands in brackets and may contain any character, also brackets and spaces.
        fields = file.read().rpartition(b")")[2].split()
    if len(fields) < 20:
        raise ValueError(f"/proc/{pid}/stat: wanted 22 fields or more")
    return fields[0].decode(), int(fields[19])
