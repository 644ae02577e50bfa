"""The program of a local worker: runs the tasks that arrive on a connection.

    python -m fruits.tasks.worker DESCRIPTOR DRIVER FOLDER

It ends if the connection is closed, or if the driver, the process that started it, has ended. Then
the driver could not delete its temporary folder, and the worker does so.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

import cloudpickle

# Imported now, while the driver is busy, and not when the first task arrives.
import fruits.networks.openvino_network
import fruits.tasks.extract  # noqa: F401
from fruits.storage.failures import store_errors

_POLL_SECONDS = 1.0
"""Seconds between two checks whether the driver still runs."""


def main() -> None:
    """Answers each task by its result and None, or by None and its error."""
    descriptor, driver, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    threading.Thread(target=_end_with, args=(driver, folder), daemon=True).start()
    connection = Connection(descriptor)
    try:
        while True:
            connection.send_bytes(_answer(connection.recv_bytes()))
    except (EOFError, OSError):
        return


def _end_with(driver: int, folder: str) -> None:
    """Ends this process, even in the middle of a task, when the driver has ended."""
    while os.getppid() == driver:
        time.sleep(_POLL_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _answer(task: bytes) -> bytes:
    try:
        # Pickled errors lose their cause, which tells what happened to a store.
        with store_errors("S3"):
            work, item = pickle.loads(task)
            done: bytes = cloudpickle.dumps((work(item), None))
    except Exception as error:
        trace = traceback.format_exc()
        try:
            error.add_note(trace)
            done = cloudpickle.dumps((None, error))
            pickle.loads(done)  # Not every error can be restored from its arguments.
        except Exception:
            done = cloudpickle.dumps((None, RuntimeError(trace)))
    return done


if __name__ == "__main__":
    main()
