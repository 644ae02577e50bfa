"""The server's end of a process that predicts: starts it, asks it, says of what it died."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from fruits.serve import frames

# For a process to load its model, in seconds.
START_SECONDS = 120.0

# Of the clock, for each second of a core that a process may use: on a busy machine it gets few.
PATIENCE = 20

# Between two looks at what a process has used, in seconds.
_LOOK = 0.25


class ChildDied(Exception):
    """The process has ended, or was ended, before it answered; the message is the reason."""


class Child:
    """A process that predicts, see :mod:`fruits.serve.worker`.

    Attributes:
        about: what its predictor says of itself.
        version: of its model.
    """

    def __init__(self, process: asyncio.subprocess.Process, version: str) -> None:
        self._process = process
        self.version = version
        self.about: dict[str, Any] = {}

    @classmethod
    async def start(cls, folder: str, version: str) -> "Child":
        """Starts a process with the predictor of a local folder.

        Raises:
            ChildDied: the predictor could not be loaded; its own words are in the message.
        """
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fruits.serve.worker", folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
            # A group of its own, which ends with the processes that it starts itself.
            start_new_session=True,
        )
        child = cls(process, version)
        try:
            child.about = await child._answer((), START_SECONDS, START_SECONDS)
        except BaseException:
            await child.stop()
            raise
        if "error" in child.about:
            await child.stop()
            raise ChildDied(child.about["error"])
        return child

    async def answer(
        self, wanted: Sequence[dict[str, Any]], contents: Sequence[bytes], seconds: float
    ) -> list[dict[str, Any]]:
        """What the predictor says of some photographs.

        Args:
            wanted: of each, whether ``thumbnails`` and ``components`` are.
            contents: of their files.
            seconds: of one core, after which the process is ended.

        Raises:
            ChildDied: there is no answer.
        """
        sizes = [w | {"length": len(content)} for w, content in zip(wanted, contents, strict=True)]
        parts = frames.pack(sizes, contents)
        answers: list[dict[str, Any]] = await self._answer(parts, seconds, PATIENCE * seconds)
        return answers

    async def stop(self) -> None:
        """Ends the process and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def _answer(self, parts: Sequence[bytes], core: float, clock: float) -> Any:
        """The answer to a frame, within seconds of a core and seconds of the clock."""
        assert self._process.stdin is not None
        # At once, before the event loop sends the last answers: the process works meanwhile.
        self._process.stdin.writelines(parts)
        asking = asyncio.create_task(self._ask())
        try:
            reason = await self._watch(asking, core, clock)
            if reason is None:
                return asking.result()
        except (EOFError, ConnectionError):
            reason = f"crashed: {_cause(await self._process.wait())}"
        finally:
            asking.cancel()
        await self.stop()
        raise ChildDied(reason)

    async def _watch(self, asking: "asyncio.Task[Any]", core: float, clock: float) -> str | None:
        """Waits for an answer; returns why there is none in time."""
        loop = asyncio.get_running_loop()
        end, used = loop.time() + clock, self._core_seconds()
        while not asking.done():
            await asyncio.wait({asking}, timeout=_LOOK)
            if asking.done():
                break
            if self._core_seconds() - used > core:
                return f"too slow: more than {core:g} s of one core"
            if loop.time() > end:
                return f"too slow: no answer for {clock:g} s"
        return None

    def _core_seconds(self) -> float:
        """What the process has used of all cores; 0 where the system does not say."""
        try:
            with open(f"/proc/{self._process.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def _ask(self) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        await self._process.stdin.drain()
        return await frames.receive(self._process.stdout)


def _cause(code: int) -> str:
    if code < 0:
        return f"the process that decodes died of {signal.Signals(-code).name}"
    return f"the process that decodes ended with status {code}"
