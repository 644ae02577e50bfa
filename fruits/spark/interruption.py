"""Reduces the output of an interrupted run to one line, at any time of the interruption."""

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
    """Silences the log of py4j, so that only an exception reports an interruption.

    py4j logs the traceback of every call that fails or is interrupted, and also raises the error,
    so the log is not needed. After an interruption it stays off, since other threads may still
    call Java.
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
    # py4j uses the root logger for calls that end early.
    restoring.callback(root.removeFilter, _not_of_py4j)
    root.addFilter(_not_of_py4j)


def _not_of_py4j(record: logging.LogRecord) -> bool:
    return record.module != "java_gateway"


def _deliver_again(restoring: ExitStack) -> None:
    """Repeats an interruption in a finalizer, where Python only prints exceptions.

    The signal is sent again a moment later, when the finalizer has ended.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
        else:
            before(unraisable)

    restoring.callback(setattr, sys, "unraisablehook", before)
    sys.unraisablehook = hook
