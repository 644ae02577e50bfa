"""Failures of the machine that a user can mend, told in one line instead of Spark's hundred."""

from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from fruits.errors import FruitsError, OutputError, WorkerError
from fruits.isolation import WorkerKilledError

# What Spark says when a Python worker ended without a word.
DIED = "Python worker exited unexpectedly"

SparkError = (PySparkException, Py4JJavaError)

_KILLED = WorkerError(
    "a Python worker was killed, most likely because memory ran out: run fewer tasks at a time "
    "(spark.executor.cores, or --master local[N]), or give the machine or the container more "
    "memory; what was committed is kept"
)
_CAUSES: dict[str, FruitsError] = {
    DIED: _KILLED,
    WorkerKilledError.__name__: _KILLED,
    "java.lang.OutOfMemoryError": WorkerError(
        "Spark's JVM ran out of memory: raise spark.driver.memory, or spark.executor.memory on a "
        "cluster; what was committed is kept"
    ),
    "No space left on device": OutputError(
        "output: the disk is full: make room, or give another output, and run again; "
        "what was committed is kept"
    ),
    "Read-only file system": OutputError(
        "output: it can no longer be written (read-only file system): mend that and run again; "
        "what was committed is kept"
    ),
    "Permission denied": OutputError(
        "output: it can no longer be written (permission denied): mend that and run again; "
        "what was committed is kept"
    ),
}


@contextmanager
def told() -> Iterator[None]:
    """Turns a failure whose cause is known into a :class:`FruitsError` that says what to do."""
    try:
        yield
    except (*SparkError, OSError) as error:
        text = str(error)
        for sign, known in _CAUSES.items():
            if sign in text:
                raise known from error
        raise
