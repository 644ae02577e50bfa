"""Stops the session that a command started. It imports PySpark only if it is imported already."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fruits.spark.active import active_session
from fruits.spark.early_start import forget_java
from fruits.spark.interruption import quiet_interruption

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


_SECONDS_TO_END = 3.0
"""The time for Java to delete its temporary files and end."""


@contextmanager
def own_spark() -> Iterator[None]:
    """Stops at the end the session that was started inside; an earlier session stays.

    After an interruption the session is not stopped, since a call may still use the connection to
    Java. Instead Java is ended, so none of its messages follow the line about the interruption.
    """
    before = active_session()
    with quiet_interruption():
        try:
            yield
        except KeyboardInterrupt:
            if before is None:
                _end_java()
            raise
        except BaseException:
            _stop_new_session(before)
            raise
        else:
            _stop_new_session(before)


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
        # It would print a traceback when its connection to Java ends.
        server.handle_error = lambda request, address: None
    process.terminate()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()


def _stop_new_session(before: SparkSession | None) -> None:
    # A starting Java would write messages after the line of an error.
    forget_java()
    if "pyspark.sql" not in sys.modules:
        return
    from fruits.spark.failures import java_ended

    if java_ended():
        return
    session = active_session()
    if session and not before:
        session.stop()
