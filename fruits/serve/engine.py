"""A queue of photographs, and processes that predict them in batches and are restarted if they die.

While a process works on a batch, new photographs wait and become the next batch: a busy server has
the speed of batches, and an idle one has no delay.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fruits.serve.child import Child, ChildDied
from fruits.serve.refusal import Refused
from fruits.serve.settings import ANSWER_SECONDS
from fruits.serve.snapshot import Snapshot

log = logging.getLogger(__name__)

# The most photographs of a batch: any photographs, or small ones with at most this many bytes
# together. Batches share fixed costs, but large photographs could exceed the time limit of a batch.
# With a slow network, batches are smaller.
BATCH, SMALL_BATCH, SMALL_BYTES = 8, 32, 2**20

# The pause before another try if a process does not start, in seconds.
PAUSE_SECONDS = 2.0

Answer = dict[str, Any]


@dataclass(eq=False)
class Job:
    """A photograph that waits for its prediction.

    Attributes:
        content: The content of the file.
        wanted: Whether ``thumbnails`` and ``components`` are wanted.
        answer: The future result.
    """

    content: bytes
    wanted: dict[str, bool]
    answer: asyncio.Future[Answer]

    def settle(self, answer: Answer) -> None:
        """Sets the result, unless the request was cancelled."""
        if not self.answer.done():
            self.answer.set_result(answer)


class Engine:
    """The queue and the processes.

    Args:
        workers: the number of processes.
        queue: the most photographs that may wait.
        image_seconds: the limit of CPU seconds for a photograph, or for a batch.
    """

    def __init__(self, workers: int, queue: int, image_seconds: float) -> None:
        self.limit = queue
        self.image_seconds = image_seconds
        self.restarts = 0
        self.model: Snapshot | None = None
        self.about: dict[str, Any] = {}
        self._waiting: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._slots = [_Slot(self) for _ in range(workers)]
        self._tasks: list[asyncio.Task[None]] = []
        self._image_time = 0.05  # A moving average of the seconds per photograph.

    @property
    def waiting(self) -> int:
        """The number of photographs in the queue."""
        return len(self._waiting)

    @property
    def is_ready(self) -> bool:
        """Whether a process can predict."""
        return any(slot.child is not None for slot in self._slots)

    async def start(self, model: Snapshot) -> None:
        """Loads the first model and starts to predict.

        Raises:
            ChildDied: the model cannot be loaded.
        """
        await self.swap(model)
        self._tasks = [asyncio.create_task(slot.work()) for slot in self._slots]

    async def swap(self, model: Snapshot) -> None:
        """Loads another model, and then replaces the present one between two batches.

        Raises:
            ModelRefused: the model cannot be loaded; the present one stays.
            ChildDied: a process ended before it had loaded the model; the present one stays.
        """
        starts = [Child.start(model.folder, model.version) for _ in self._slots]
        children = await asyncio.gather(*starts, return_exceptions=True)
        good = [child for child in children if isinstance(child, Child)]
        if len(good) < len(children):
            await asyncio.gather(*(child.stop() for child in good))
            error = next(child for child in children if isinstance(child, BaseException))
            if isinstance(error, ChildDied):
                # The user knows the place of the model, not that of its copy.
                reason = str(error).replace(f"file:{model.folder}", model.place)
                error = type(error)(reason.replace(model.folder, model.place))
            raise error
        self.model, self.about = model, good[0].about
        await asyncio.gather(
            *(slot.replace(child) for slot, child in zip(self._slots, good, strict=True))
        )

    async def stop(self) -> None:
        """Ends the processes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(slot.stop() for slot in self._slots))

    def require_room(self, count: int) -> None:
        """Checks that there is space for more photographs in the queue.

        Raises:
            Refused: the queue is full; with status 429 and the seconds to wait.
        """
        if len(self._waiting) + count > self.limit:
            seconds = math.ceil(len(self._waiting) * self._image_time / len(self._slots))
            reason = "too many photographs are waiting: try again later"
            raise Refused(429, "busy", reason, max(1, seconds))

    async def predict(
        self, contents: Sequence[bytes], *, one_model: bool = False, **wanted: bool
    ) -> list[Answer]:
        """Predicts photographs; each result has the ``version`` of its model.

        Args:
            contents: the contents of the files.
            one_model: whether all results must have the same version.
            wanted: whether ``thumbnails`` and ``components`` are wanted.

        Raises:
            Refused: the queue is full, or the request timed out.
        """
        self.require_room(len(contents))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answers = await self._answers(contents, wanted)
                # While the model changes, two are in use.
                while one_model and len({a["version"] for a in answers if "error" not in a}) > 1:
                    answers = await self._answers(contents, wanted)
                return answers
        except TimeoutError:
            raise Refused(503, "late", "no prediction in time: try again later", 5) from None

    async def _answers(self, contents: Sequence[bytes], wanted: dict[str, bool]) -> list[Answer]:
        loop = asyncio.get_running_loop()
        jobs = [Job(content, wanted, loop.create_future()) for content in contents]
        self._waiting.extend(jobs)
        self._arrived.set()
        try:
            return list(await asyncio.gather(*(job.answer for job in jobs)))
        finally:
            for job in jobs:  # Those of a cancelled request may still wait.
                if job in self._waiting:
                    self._waiting.remove(job)

    async def take(self) -> list[Job]:
        """The next batch, without jobs of cancelled requests."""
        while True:
            if batch := self._batch():
                return batch
            self._arrived.clear()
            await self._arrived.wait()

    def _batch(self) -> list[Job]:
        batch: list[Job] = []
        size = 0
        # The limit of time is for the whole batch, so an average batch must not come near to it.
        most = max(1, int(self.image_seconds / 2 / self._image_time))
        while self._waiting and len(batch) < most:
            size += len(self._waiting[0].content)
            if len(batch) >= (SMALL_BATCH if size <= SMALL_BYTES else BATCH):
                break
            job = self._waiting.popleft()
            if job.answer.done():
                size -= len(job.content)
            else:
                batch.append(job)
        return batch

    def measured(self, seconds: float, count: int) -> None:
        """Updates the average time per photograph."""
        self._image_time += 0.1 * (seconds / count - self._image_time)


class _Slot:
    """A slot for one process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.child: Child | None = None
        self._lock = asyncio.Lock()

    async def work(self) -> None:
        """Predicts batch after batch."""
        while True:
            if self.child is None:
                await self._restart()
                continue
            jobs = await self.engine.take()
            async with self._lock:
                await self._settle(jobs)

    async def replace(self, child: Child) -> None:
        """Replaces the process after the present batch."""
        async with self._lock:
            old, self.child = self.child, child
        if old is not None:
            await old.stop()

    async def stop(self) -> None:
        """Stops the process."""
        if self.child is not None:
            await self.child.stop()

    async def _settle(self, jobs: Sequence[Job]) -> None:
        """Predicts every job; if the process dies, those still wanted are tried one by one."""
        if self.child is not None and self.child.ended:
            # None of these photographs is the cause.
            self._lose(f"between two batches, {self.child.ended}")
        if not await self._has_child(jobs):
            return
        reason = await self._try(jobs)
        if reason is None:
            return
        if len(jobs) == 1:
            jobs[0].settle({"error": reason, "version": ""})
            return
        for job in jobs:
            if await self._has_child([job]):
                alone = await self._try([job])
                if alone is not None:
                    job.settle({"error": alone, "version": ""})

    async def _has_child(self, jobs: Sequence[Job]) -> bool:
        """Starts a process if there is none; returns whether any of the jobs is still wanted."""
        while not all(job.answer.done() for job in jobs):
            if self.child is not None:
                return True
            await self._start()
        return False

    async def _try(self, jobs: Sequence[Job]) -> str | None:
        """Predicts the jobs; returns the reason if the process dies, otherwise None."""
        child, engine = self.child, self.engine
        assert child is not None
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            answers = await child.answer(
                [job.wanted for job in jobs], [job.content for job in jobs], engine.image_seconds
            )
        except ChildDied as death:
            self._lose(str(death))
            return str(death)
        engine.measured(loop.time() - started, len(jobs))
        for job, answer in zip(jobs, answers, strict=True):
            job.settle(answer | {"version": child.version})
        return None

    def _lose(self, reason: str) -> None:
        self.child = None
        self.engine.restarts += 1
        log.warning("a process died and is restarted: %s", reason)

    async def _restart(self) -> None:
        async with self._lock:
            if self.child is None:
                await self._start()

    async def _start(self) -> None:
        model = self.engine.model
        assert model is not None
        try:
            self.child = await Child.start(model.folder, model.version)
        except (ChildDied, OSError) as error:
            log.error("a process did not start and is retried: %s", error)
            await asyncio.sleep(PAUSE_SECONDS)
