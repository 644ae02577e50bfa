"""Computes the next items in threads, while earlier ones are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yields the same items; at most two are in memory.

    If the caller stops early, this waits until the item that is being computed is complete.

    Args:
        items: the items, such as a generator, which runs in the thread.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, iterator, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, iterator, end)
            yield item  # type: ignore[misc]


def read_ahead(
    jobs: Iterable[tuple[int, Callable[[], Result]]], threads: int, most: int
) -> Generator[Result]:
    """Yields the results of jobs in order, while the next jobs already run.

    Jobs start in order.

    Args:
        jobs: the memory that each job needs, in bytes, and the job.
        threads: the number of jobs that run in parallel.
        most: the memory limit in bytes, for running jobs and results that are not consumed yet.
    """
    pending: deque[tuple[Future[Result], int]] = deque()
    ahead = 0
    with ThreadPoolExecutor(threads) as pool:
        try:
            for cost, job in jobs:
                while pending and (len(pending) > threads or ahead + cost > most):
                    future, taken = pending.popleft()
                    ahead -= taken
                    yield future.result()
                pending.append((pool.submit(job), cost))
                ahead += cost
            while pending:
                yield pending.popleft()[0].result()
        finally:
            pool.shutdown(cancel_futures=True)
