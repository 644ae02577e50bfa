"""Failures of the machine that a user can fix, in one line instead of Spark's hundred."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from fruits import errors
from fruits.errors import FruitsError, OutputError, StorageError, WorkerError
from fruits.networks.isolation import WorkerKilledError
from fruits.storage.failures import store_errors

# What Spark says when a Python worker ended without an error of its own.
DIED = "Python worker exited unexpectedly"


SparkError = (PySparkException, Py4JJavaError)


_KILLED = (
    "a Python worker was killed, most likely because memory ran out: run fewer tasks at a time "
    "(spark.executor.cores, or --master local[N]), or give the machine or the container more memory"
)

_FORBIDDEN = (
    "output: it can no longer be written (permission denied): allow it again, and run again"
)

# What the text of an error contains, and the error that says it in one line.
_CAUSES: dict[str, tuple[type[FruitsError], str]] = {
    DIED: (WorkerError, _KILLED),
    WorkerKilledError.__name__: (WorkerError, _KILLED),
    "java.lang.OutOfMemoryError": (
        WorkerError,
        "Spark's JVM ran out of memory: raise spark.driver.memory, or spark.executor.memory on a "
        "cluster",
    ),
    "No space left on device": (
        OutputError,
        "output: the disk is full: make room, or give another output, and run again",
    ),
    "Read-only file system": (
        OutputError,
        "output: it can no longer be written (read-only file system): make it writable, and run "
        "again",
    ),
    "Permission denied": (OutputError, _FORBIDDEN),
    # What Hadoop makes of a local folder that may not be written.
    "Mkdirs failed to create": (OutputError, _FORBIDDEN),
}


# One of our own errors, as the last line of a Python worker's traceback has it.
_RAISED = re.compile(r"^fruits\.errors\.(\w+): (.+)$", re.MULTILINE)


# What S3A and its client say in the JVM.
_S3A = re.compile(r"(?:org\.apache\.hadoop\.fs\.s3a|software\.amazon\.awssdk)[\w.$]+: [^\n]+")


@contextmanager
def spark_errors() -> Iterator[None]:
    """Turns a failure whose cause is known into a :class:`FruitsError` that says what to do."""
    try:
        with store_errors("S3"):
            yield
    except (*SparkError, OSError) as error:
        text = str(error)
        if raised := _RAISED.search(text):
            raise getattr(errors, raised[1])(raised[2]) from error
        for sign, (kind, message) in _CAUSES.items():
            if sign in text:
                raise kind(f"{message}; what was committed is kept") from error
        if said := _S3A.search(text):
            raise StorageError(
                f"the store cannot be used ({said[0]}); check the bucket, the credentials and the "
                "endpoint, and run again: what was committed is kept"
            ) from error
        raise
