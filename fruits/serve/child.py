"""The server's end of a process that predicts: starts it, asks it, says of what it died."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from fruits.serve import frames

# For a process to load its model.
START_SECONDS = 120.0


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
            child.about = await child._within(START_SECONDS, ())
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
            seconds: after which the process is ended.

        Raises:
            ChildDied: there is no answer.
        """
        sizes = [w | {"length": len(content)} for w, content in zip(wanted, contents, strict=True)]
        answers: list[dict[str, Any]] = await self._within(seconds, frames.pack(sizes, contents))
        return answers

    async def stop(self) -> None:
        """Ends the process and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def _within(self, seconds: float, parts: Sequence[bytes]) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(parts)
        except TimeoutError:
            await self.stop()
            raise ChildDied(f"too slow: no answer within {seconds:g} s") from None
        except (EOFError, ConnectionError):
            code = await self._process.wait()
            await self.stop()
            raise ChildDied(f"crashed: {_cause(code)}") from None

    async def _ask(self, parts: Sequence[bytes]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if parts:
            self._process.stdin.writelines(parts)
            await self._process.stdin.drain()
        return await frames.receive(self._process.stdout)


def _cause(code: int) -> str:
    if code < 0:
        return f"the process that decodes died of {signal.Signals(-code).name}"
    return f"the process that decodes ended with status {code}"
