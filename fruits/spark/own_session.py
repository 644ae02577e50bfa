"""Stops the session that a command began. Loads Spark only where somebody else has loaded it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fruits.spark.early_start import forget_java
from fruits.spark.interruption import quiet_interruption

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


_SECONDS_TO_END = 3.0
"""Of Java, which deletes its temporary files meanwhile."""


@contextmanager
def own_spark() -> Iterator[None]:
    """Stops at its end the session that was begun within; one that was there before stays.

    After an interruption it is not asked to stop, since a call may be under way on the connection
    to Java; Java itself is ended, so that none of its messages follow the one line.
    """
    before = _active()
    with quiet_interruption():
        try:
            yield
        except KeyboardInterrupt:
            if before is None:
                _end_java()
            raise
        except BaseException:
            _stop_begun(before)
            raise
        else:
            _stop_begun(before)


def _active() -> SparkSession | None:
    """The active session; none where nothing has loaded Spark."""
    if "pyspark.sql" not in sys.modules:
        return None
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


def _end_java() -> None:
    """Ends the Java that this process started, with its temporary files."""
    if "pyspark" not in sys.modules:
        return
    from pyspark import SparkContext

    process: subprocess.Popen[bytes] | None = getattr(SparkContext._gateway, "proc", None)
    if process is None:
        return
    server = getattr(SparkContext._active_spark_context, "_accumulatorServer", None)
    if server is not None:
        # Its connection to Java breaks off, of which it would print a traceback.
        server.handle_error = lambda request, address: None
    process.terminate()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()


def _stop_begun(before: SparkSession | None) -> None:
    # A Java that is just about to start would write after the one line of an error.
    forget_java()
    if "pyspark.sql" not in sys.modules:
        return
    from fruits.spark.failures import java_ended

    if java_ended():
        return
    session = _active()
    if session and not before:
        session.stop()
