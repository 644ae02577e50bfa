"""The sizes of batches."""

import asyncio

import pytest

from fruits.serve.engine import Engine, Job

KB = 1000


def batches(sizes: list[int], gone: tuple[int, ...] = ()) -> list[list[int]]:
    """The sizes of the photographs in each batch from a queue."""

    async def take() -> list[list[int]]:
        engine = Engine(workers=0, queue=100, image_seconds=1)
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


def test_cancelled_photographs_are_not_in_a_batch() -> None:
    assert batches([8000 * KB] + [5 * KB] * 40, gone=(0, 2)) == [[5 * KB] * 32, [5 * KB] * 7]
