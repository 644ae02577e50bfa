"""Times the stages of a run and prints their progress."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from fruits.runs.allocator import return_freed_memory

# Seconds between two lines about the images in a log, where they do not replace each other.
LOG_SECONDS = 30.0

_WIDTH = len("predictor")  # The longest name of a stage.


class Stages:
    """Times the stages of a run, and prints the current stage and the seconds of each.

    Attributes:
        progress: The stream for the lines.
        seconds: The seconds of each finished stage, by name.
    """

    def __init__(self, progress: TextIO, after: float = 0.5) -> None:
        """Starts without any stage.

        Args:
            progress: The stream for the lines.
            after: The seconds after which the name of a running stage is printed.
        """
        self.seconds: dict[str, float] = {}
        self.progress = progress
        self._after = after
        return_freed_memory()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times the body of a ``with`` statement as a stage.

        Args:
            name: The name in the lines and in :attr:`seconds`.
        """
        begin = time.perf_counter()
        announced = threading.Event()
        timer = threading.Timer(self._after, self._announce, [name, announced])
        timer.daemon = True
        timer.start()
        try:
            yield
        except BaseException:
            _stop(timer)
            if announced.is_set() and replaces_lines(self.progress):
                # Clear the line for the message of the error.
                self._print(f"\r{' ' * len(_under_way(name))}\r")
            raise
        # Otherwise the next stage would start with the memory that this one has freed.
        return_freed_memory()
        self.seconds[name] = round(time.perf_counter() - begin, 3)
        _stop(timer)
        self._print(f"{name:{_WIDTH}} {self.seconds[name]:8.1f} s\n")

    def _announce(self, name: str, announced: threading.Event) -> None:
        # The carriage return lets the next line or a progress bar replace it.
        self._print(_under_way(name) + ("\r" if replaces_lines(self.progress) else "\n"))
        announced.set()

    def _print(self, text: str) -> None:
        print(text, end="", file=self.progress, flush=True)


def images_bar(total: int, progress: TextIO) -> tqdm:
    """A progress bar for images; in a log, a line every half minute."""
    common = {"total": total, "desc": "images", "unit": " images"}
    if replaces_lines(progress):
        return tqdm(**common, file=progress)
    shown = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"
    every = {"mininterval": LOG_SECONDS, "miniters": 1}
    return tqdm(**common, **every, file=_CompleteLines(progress), bar_format=shown)


def replaces_lines(stream: TextIO) -> bool:
    """Whether a carriage return lets the next text replace a line: on a terminal, in a notebook.

    The log of a container or of a service shows only complete lines.
    """
    return stream.isatty() or type(stream).__module__.startswith("ipykernel.")


class _CompleteLines:
    """Ends each state of a progress bar with a newline, not with a carriage return."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if line := text.strip():
            print(line, file=self._stream)

    def flush(self) -> None:
        self._stream.flush()


def _stop(timer: threading.Timer) -> None:
    timer.cancel()
    timer.join()


def _under_way(name: str) -> str:
    return f"{name} ..."
