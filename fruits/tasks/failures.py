"""Converts failures of tasks with a known cause to errors of one line."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fruits.errors import FruitsError, OutputError, WorkerError
from fruits.networks.isolation import WorkerKilledError
from fruits.storage.failures import store_errors
from fruits.tasks.workers import WorkerDiedError

# A pattern in the text of a failure -> the error to raise, whose message may use the groups.
Causes = Mapping[str, tuple[type[FruitsError], str]]

KILLED = (
    "a Python worker was killed, most likely because memory ran out: run fewer tasks at a time "
    "({fewer}), or give the machine or the container more memory; what was committed is kept"
)
FEWER_LOCAL = "spark.master local[N] in spark-defaults.conf"
"""How to run fewer tasks at a time on one machine."""
FORBIDDEN = (
    "output: it can no longer be written (permission denied): change its permissions and run "
    "again; what was committed is kept"
)

# Failures of the operating system.
CAUSES: Causes = {
    "No space left on device": (
        OutputError,
        "output: the disk is full: make room, or give another output, and run again; "
        "what was committed is kept",
    ),
    "Read-only file system": (
        OutputError,
        "output: it can no longer be written (read-only file system): make it writable and run "
        "again; what was committed is kept",
    ),
    "Permission denied": (OutputError, FORBIDDEN),
}


@contextmanager
def task_errors() -> Iterator[None]:
    """Converts a failure with a known cause to a :class:`FruitsError` that says what to do.

    Raises:
        FruitsError: Replaces a failure of a worker process, of an object store or of the operating
            system with a known cause. Other failures pass unchanged.
    """
    try:
        with store_errors("S3"):
            yield
    except (WorkerDiedError, WorkerKilledError) as error:
        if "SIGKILL" in str(error):
            raise WorkerError(KILLED.format(fewer=FEWER_LOCAL)) from error
        raise WorkerError(
            f"a worker process ended ({error}), and its messages are above; what was committed is "
            "kept: run again, and please report it if that happens again"
        ) from error
    except OSError as error:
        if found := known_cause(str(error), CAUSES):
            raise found from error
        raise


def known_cause(text: str, causes: Causes) -> FruitsError | None:
    """The error to raise for a failure with this text; None if its cause is not known."""
    for pattern, (kind, message) in causes.items():
        if match := re.search(pattern, text):
            return kind(match.expand(message))
    return None
