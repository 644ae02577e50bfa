"""Starts Spark's Java in a thread while the images are listed and the network is compiled."""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread

_started: list[Future[None]] = []


def start_java_early() -> None:
    """Starts the Java for :func:`fruits.spark.session.get_spark` in a thread.

    It does nothing if PySpark is imported already, or if a platform has started Java.
    :func:`wait_for_java` raises the errors of the start.
    """
    if _started or "pyspark" in sys.modules or "PYSPARK_GATEWAY_PORT" in os.environ:
        return
    # Not in the thread: two threads must not import PySpark at the same time.
    from fruits.spark.gateway import start_java

    started: Future[None] = Future()

    def start() -> None:
        try:
            start_java()
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(None)

    _started.append(started)
    # A process does not wait for a daemon thread, and Java ends with the process.
    Thread(target=start, name="java", daemon=True).start()


def wait_for_java() -> None:
    """Waits until Java has started, if :func:`start_java_early` was called.

    Raises:
        ConfigError: There is no Java that Spark can use, or the session is one of Spark Connect.
        PySparkException: Java could not be started.
    """
    if _started:
        try:
            _started[0].result()
        finally:
            _started.clear()


def forget_java() -> None:
    """Waits like :func:`wait_for_java`, but ignores errors, since Java is no longer needed."""
    with suppress(Exception):
        wait_for_java()
