"""Starts Spark's Java in a thread, while the images are listed and the network is compiled."""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread

_begun: list[Future[None]] = []


def start_java_early() -> None:
    """Begins to start the Java that :func:`fruits.spark.session.get_spark` will use.

    It does nothing where somebody else has loaded Spark, or a platform has started Java. What goes
    wrong is raised by :func:`wait_for_java`.
    """
    if _begun or "pyspark" in sys.modules or "PYSPARK_GATEWAY_PORT" in os.environ:
        return
    # Here, not in the thread: two threads must not import PySpark at the same time.
    from fruits.spark.gateway import start_java

    begun: Future[None] = Future()

    def start() -> None:
        try:
            start_java()
        except BaseException as error:
            begun.set_exception(error)
        else:
            begun.set_result(None)

    _begun.append(begun)
    # A process that ends early does not wait for a daemon; Java ends with the process.
    Thread(target=start, name="java", daemon=True).start()


def wait_for_java() -> None:
    """Waits until Java is there, if it was begun.

    Raises:
        ConfigError: there is no Java that Spark can use, or it is not to be used.
        PySparkException: it could not be started.
    """
    if _begun:
        try:
            _begun[0].result()
        finally:
            _begun.clear()


def forget_java() -> None:
    """Waits like :func:`wait_for_java`, whatever comes of it: nobody needs Java any more."""
    with suppress(Exception):
        wait_for_java()
