"""Converts failures of Spark with a known cause to errors of one line, without a Java trace."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from fruits import errors
from fruits.errors import ConfigError, FruitsError, OutputError, StorageError, WorkerError
from fruits.networks.isolation import WorkerKilledError
from fruits.storage.failures import store_errors
from fruits.tasks.failures import CAUSES, FEWER_LOCAL, FORBIDDEN, KILLED, Causes, known_cause
from fruits.tasks.workers import WorkerDiedError

SparkError = (PySparkException, Py4JError)

# Spark's message if a Python worker ended without one.
DIED = "Python worker exited unexpectedly"

_KILLED = KILLED.format(fewer=f"spark.executor.cores, or {FEWER_LOCAL}")
_JAVA_ENDED = (
    "Spark's Java ended, most likely because memory ran out: lower spark.driver.memory, or give "
    "the machine or the container more memory; what was committed is kept"
)
# A pattern in the text of a failure -> the error to raise, whose message may use the groups.
_CAUSES: Causes = {
    DIED: (WorkerError, _KILLED),
    WorkerKilledError.__name__: (WorkerError, _KILLED),
    r"java\.lang\.OutOfMemoryError": (
        WorkerError,
        "Spark's JVM ran out of memory: raise spark.driver.memory, or spark.executor.memory on a "
        "cluster; what was committed is kept",
    ),
    r"Python in worker has different version: ([\d.]+) than that in driver: ([\d.]+)": (
        ConfigError,
        r"spark: the workers run Python \1, the driver \2: install the same version everywhere, "
        "or set PYSPARK_PYTHON to it",
    ),
    r"ModuleNotFoundError: (No module named '[\w.]+')": (
        ConfigError,
        r"spark: the Python of the workers lacks a package (\1): install fruits with its "
        "packages on every worker, or set PYSPARK_PYTHON to a Python that has them",
    ),
    **CAUSES,
    # Hadoop's message for a local folder without write permission.
    "Mkdirs failed to create": (OutputError, FORBIDDEN),
    r"Class org\.apache\.hadoop\.fs\.s3a\.S3AFileSystem not found": (
        ConfigError,
        "spark: wanted its jars for S3, which are not installed: add those of conf/jars/pom.xml to "
        "PySpark, as the README shows, or use a local output",
    ),
    # Errors of S3A and its client in the JVM.
    r"((?:org\.apache\.hadoop\.fs\.s3a|software\.amazon\.awssdk)[\w.$]+: [^\n]+)": (
        StorageError,
        r"the store cannot be used (\1); check the bucket, the credentials and the endpoint, and "
        "run again: what was committed is kept",
    ),
    # Spark's message for a damaged file of a table.
    r"FAILED_READ_FILE[^\n]* (\S+\.parquet)\b": (
        OutputError,
        r"output: \1 is damaged, or cannot be read: restore it from a copy, or run again with "
        "overwrite, which extracts all features again",
    ),
}

# An error of this package that a Python worker raised, at the end of the worker's traceback.
_RAISED = re.compile(r"^fruits\.errors\.(\w+): (.+)$", re.MULTILINE)


@contextmanager
def spark_errors() -> Iterator[None]:
    """Converts a failure with a known cause to a :class:`FruitsError` that says what to do.

    Raises:
        FruitsError: Replaces a failure of Spark, of an object store or of the operating system
            with a known cause. Other failures pass unchanged.
        KeyboardInterrupt: Replaces a failure that an interruption has caused.
    """
    try:
        with store_errors("S3"):
            yield
    except Exception as error:
        # Of any type: PySpark itself may fail while it handles an interruption.
        if _interrupted(error):
            raise KeyboardInterrupt from error
        if isinstance(error, (*SparkError, WorkerDiedError, OSError)):
            if found := _known(str(error)):
                raise found from error
            if java_ended():
                raise WorkerError(_JAVA_ENDED) from error
        raise


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interruption caused the error; it may have stopped Java too."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def java_ended() -> bool:
    """Whether the Java that this process started has ended, or ends within a second."""
    process = getattr(SparkContext._gateway, "proc", None)
    try:
        return process is not None and process.wait(timeout=1) is not None
    except subprocess.TimeoutExpired:
        return False


def _known(text: str) -> FruitsError | None:
    """The error to raise for a failure with this text; None if its cause is not known."""
    if raised := _RAISED.search(text):
        found: FruitsError = getattr(errors, raised[1])(raised[2])
        return found
    return known_cause(text, _CAUSES)
