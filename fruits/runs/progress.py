"""The stages of a run, timed, and said as they pass."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Stages:
    """Times the stages of a run and says which one is under way.

    Attributes:
        seconds: of each stage that has ended, by name.
    """

    def __init__(self, progress: TextIO) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times what happens inside as the stage ``name``."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begin, 3)
        print(f"{name:8} {self.seconds[name]:8.1f} s", file=self._progress, flush=True)
