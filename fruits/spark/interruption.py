"""Keeps the output of an interrupted run to its one line, whenever the interruption arrives."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Timer
from typing import Any


@contextmanager
def quiet_interruption() -> Iterator[None]:
    """Lets an interruption be reported by its exception alone.

    py4j logs the traceback of every call that fails or is interrupted, and raises the error as
    well: here its log is off, so nothing is lost. After an interruption it stays off, since other
    threads may still be calling Java.
    """
    with ExitStack() as restoring:
        _silence_py4j(restoring)
        _deliver_again(restoring)
        try:
            yield
        except KeyboardInterrupt:
            restoring.pop_all()
            raise


def _silence_py4j(restoring: ExitStack) -> None:
    py4j, root = logging.getLogger("py4j"), logging.getLogger()
    restoring.callback(setattr, py4j, "propagate", py4j.propagate)
    py4j.propagate = False
    # Where a call ends early, py4j uses the root logger.
    restoring.callback(root.removeFilter, _not_of_py4j)
    root.addFilter(_not_of_py4j)


def _not_of_py4j(record: logging.LogRecord) -> bool:
    return record.module != "java_gateway"


def _deliver_again(restoring: ExitStack) -> None:
    """Repeats an interruption that arrives in a finalizer, where Python only prints exceptions.

    It is repeated a moment later, when the finalizer has ended.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
        else:
            before(unraisable)

    restoring.callback(setattr, sys, "unraisablehook", before)
    sys.unraisablehook = hook
