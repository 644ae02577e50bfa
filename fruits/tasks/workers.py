"""What runs tasks in parallel: the Python workers of a Spark session, or processes of this machine.

Both run the same functions on the same items, so the results have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class WorkerDiedError(Exception):
    """A worker process ended in the middle of a task, for example because an image crashed it."""


class Shared(Protocol[T_co]):
    """A value that each worker receives once, also if many tasks use it."""

    @property
    def value(self) -> T_co:
        """The value."""


class Workers(Protocol):
    """Processes that run tasks in parallel."""

    @property
    def slots(self) -> int:
        """The number of tasks that run at a time."""

    @property
    def scratch(self) -> Callable[[], str]:
        """A function for tasks: the folder for temporary files on their machine."""

    def share(self, value: T) -> AbstractContextManager[Shared[T]]:
        """For a ``with`` statement: sends a value to the workers, for the enclosed :meth:`run`.

        Its space is freed at the end of the statement, also after an error. No task may use it
        afterwards.
        """

    def run(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        description: str,
        ended: list[Result] | None = None,
    ) -> list[Result]:
        """Calls a function for each item, in a task each.

        Args:
            work: The function. If it raises an error, no further tasks start.
            items: The items. Function, items and results are pickled.
            description: The work in a few words, such as ``"extract: 512 images"``.
            ended: A list to which the result of each task is added as soon as the task has ended,
                in any order. After an error it has the results of the tasks that succeeded.

        Returns:
            The results, in the order of the items.

        Raises:
            WorkerDiedError: A worker process ended in the middle of a task.
        """

    def cancellable(self) -> AbstractContextManager[Callable[[], None]]:
        """For a ``with`` statement: a function that ends the tasks of the enclosed :meth:`run`.

        It may be called in another thread; :meth:`run` then raises an error.
        """
