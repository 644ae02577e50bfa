"""Stops the session that a command began. Loads Spark only where somebody else has loaded it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fruits.spark.early_start import forget_java
from fruits.spark.interruption import quiet_interruption

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@contextmanager
def own_spark() -> Iterator[None]:
    """Stops at its end the session that was begun within; one that was there before stays.

    After an interruption it is not asked to stop: a call may be under way on the connection to
    Java, which ends with this process.
    """
    before = _active()
    with quiet_interruption():
        try:
            yield
        except KeyboardInterrupt:
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
