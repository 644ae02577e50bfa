"""The sizes of batches, and photographs that are tried again."""

import asyncio
import sys
import tempfile

import pytest

from fruits.serve import engine as engines
from fruits.serve.child import Child
from fruits.serve.engine import Engine, Job
from fruits.serve.snapshot import Snapshot

KB = 1000


def batches(
    sizes: list[int], gone: tuple[int, ...] = (), seconds: float | None = None
) -> list[list[int]]:
    """The sizes of the photographs in each batch from a queue.

    Args:
        sizes: the sizes of the photographs.
        gone: those of cancelled requests.
        seconds: the time that each earlier photograph took; None if there were none.
    """

    async def take() -> list[list[int]]:
        engine = Engine(workers=0, queue=100, image_seconds=10)
        for _ in range(100 if seconds else 0):
            engine.measured(seconds or 0, 1)
        jobs = [Job(bytes(n), {}, asyncio.get_running_loop().create_future()) for n in sizes]
        for place in gone:
            jobs[place].answer.cancel()
        engine._waiting.extend(jobs)
        found = []
        while engine.waiting:
            found.append([len(job.content) for job in await engine.take()])
        return found

    return asyncio.run(take())


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ([5 * KB] * 3, [3]),
        ([5 * KB] * 70, [32, 32, 6]),
        ([8000 * KB] * 20, [8, 8, 4]),
        # A large photograph ends a batch of small photographs.
        ([5 * KB] * 12 + [8000 * KB] + [5 * KB] * 12, [12, 8, 5]),
        ([100 * KB] * 15, [10, 5]),
    ],
)
def test_a_batch_has_many_small_photographs_or_a_few_large_ones(
    sizes: list[int], counts: list[int]
) -> None:
    found = batches(sizes)
    assert [len(batch) for batch in found] == counts
    assert [size for batch in found for size in batch] == sizes


@pytest.mark.parametrize(("seconds", "count"), [(0.01, 32), (0.35, 14), (3.0, 1), (9.0, 1)])
def test_an_average_batch_needs_at_most_half_of_the_time_after_which_it_is_ended(
    seconds: float, count: int
) -> None:
    found = batches([5 * KB] * 64, seconds=seconds)
    assert max(map(len, found)) == count
    assert sum(map(len, found)) == 64


def test_cancelled_photographs_are_not_in_a_batch() -> None:
    assert batches([8000 * KB] + [5 * KB] * 40, gone=(0, 2)) == [[5 * KB] * 32, [5 * KB] * 7]


def test_no_process_is_started_for_photographs_that_nobody_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "PAUSE_SECONDS", 0.01)

    async def settle() -> list[str]:
        engine = Engine(workers=1, queue=100, image_seconds=1)
        # A folder without a model: no process can start.
        engine.model = Snapshot(tempfile.TemporaryDirectory(), "place", "version", "stamp")
        [slot] = engine._slots
        dead = await asyncio.create_subprocess_exec(
            # Ends when it gets the photographs.
            *(sys.executable, "-c", "import sys; sys.stdin.read(1)"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        slot.child = Child(dead, "version")
        loop = asyncio.get_running_loop()
        wanted = {"thumbnails": False, "components": False}
        jobs = [Job(b"photograph", wanted, loop.create_future()) for _ in range(3)]
        loop.call_later(1, lambda: [job.answer.cancel() for job in jobs])
        await asyncio.wait_for(slot._settle(jobs), 60)
        return [str(job.answer) for job in jobs]

    assert all("cancelled" in answer for answer in asyncio.run(settle()))
