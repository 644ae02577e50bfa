"""The program of a local worker: runs the tasks that arrive on a connection.

    python -m fruits.tasks.worker DESCRIPTOR

It ends when the connection is closed, so also if the process that started it is killed.
"""

from __future__ import annotations

import pickle
import sys
import traceback
from multiprocessing.connection import Connection

import cloudpickle

# Imported now, while the driver is busy, and not when the first task arrives.
import fruits.networks.openvino_network
import fruits.tasks.extract  # noqa: F401


def main() -> None:
    """Answers each task by its result and None, or by None and its error."""
    connection = Connection(int(sys.argv[1]))
    while True:
        try:
            task = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(_answer(task))


def _answer(task: bytes) -> bytes:
    try:
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
