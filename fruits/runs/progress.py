"""The stages of a run: timed, and named while they are under way."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Stages:
    """Times the stages of a run, and says which one is under way and what each one took.

    Attributes:
        seconds: of each stage that has ended, by name.
    """

    def __init__(self, progress: TextIO, after: float = 0.5) -> None:
        """A run without any stage yet.

        Args:
            progress: where the lines go.
            after: seconds until a stage is named while it is under way.
        """
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._after = after

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times what happens inside as the stage ``name``."""
        begin = time.perf_counter()
        announced = threading.Event()
        timer = threading.Timer(self._after, self._announce, [name, announced])
        timer.daemon = True
        timer.start()
        try:
            yield
        except BaseException:
            _stop(timer)
            if announced.is_set():
                # What comes now begins on an empty line.
                self._print(f"\r{' ' * len(_under_way(name))}\r")
            raise
        self.seconds[name] = round(time.perf_counter() - begin, 3)
        _stop(timer)
        self._print(f"{name:8} {self.seconds[name]:8.1f} s\n")

    def _announce(self, name: str, announced: threading.Event) -> None:
        # The next line, or a progress bar, takes its place.
        self._print(_under_way(name) + "\r")
        announced.set()

    def _print(self, text: str) -> None:
        print(text, end="", file=self._progress, flush=True)


def _stop(timer: threading.Timer) -> None:
    timer.cancel()
    timer.join()


def _under_way(name: str) -> str:
    return f"{name} ..."
