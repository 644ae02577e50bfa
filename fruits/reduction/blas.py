"""Limits the number of threads that the BLAS uses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

_BLAS = ThreadpoolController()

_PER_THREAD = any(one.get("threading_layer") == "openmp" for one in _BLAS.info())
"""Whether each thread has its own limit, as with OpenMP; otherwise the process has one limit."""

_LOCK = threading.Lock()

_LIMITS: list[Any] = []
"""The limit of the process, once for each active thread; the last thread resets it."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limits the BLAS to one thread while the block runs, also if several threads use it.

    By default, the BLAS uses all cores, and the last bits of a decomposition and of many products
    depend on the number of threads; but results must be the same on every machine. For few rows,
    one thread is also faster: after a product, the other threads of the BLAS spin for some
    milliseconds and keep cores busy that the network needs.

    It is also a decorator: ``@one_blas_thread()``.
    """
    if _PER_THREAD:
        with _BLAS.limit(limits=1, user_api="blas"):
            yield
        return
    with _LOCK:
        if not _LIMITS:
            _take_over()
        _LIMITS.append(_LIMITS[-1] if _LIMITS else _BLAS.limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _LOCK:
            limit = _LIMITS.pop()
            if not _LIMITS:
                _take_over()
                limit.restore_original_limits()
                _take_over()


def _take_over() -> None:
    """Lets any thread change the limit; threadpoolctl 3.8 allows only the first thread to."""
    for library in _BLAS.lib_controllers:
        if release := getattr(library, "clear_controlling_thread", None):
            release(force=True)
