"""Starts processes that do not run the caller's script again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def main_hidden() -> Iterator[None]:
    """Processes that are spawned in the block do not import the main module of this one.

    They need only this package. Otherwise, each would first run the user's script again, unless
    all of its code is below ``if __name__ == "__main__"``.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
