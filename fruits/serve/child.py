"""The server's side of a process that predicts: starts it, sends requests, detects crashes."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from fruits.serve import frames
from fruits.storage.processes import ending

# The timeout for loading a model, in seconds.
START_SECONDS = 120.0

# Seconds of wall time for each allowed CPU second, because a busy machine gives it little CPU time.
PATIENCE = 20

_NONSENSE = "crashed: the process that decodes sent an invalid response"

# Seconds between two checks of the CPU time that a process has used.
_LOOK = 0.25


class ChildDied(Exception):
    """The process ended or was killed before it responded; the message is the reason."""


class ModelRefused(ChildDied):
    """The predictor cannot be loaded; the message is its error."""


class Child:
    """A process that predicts, see :mod:`fruits.serve.worker`.

    Attributes:
        about: The information from its predictor.
        version: The version of its model.
    """

    def __init__(self, process: asyncio.subprocess.Process, version: str) -> None:
        self._process = process
        self.version = version
        self.about: dict[str, Any] = {}

    @classmethod
    async def start(cls, folder: str, version: str) -> "Child":
        """Starts a process with the predictor of a local folder.

        Raises:
            ModelRefused: the predictor cannot be loaded.
            ChildDied: the process ended, or was too slow.
        """
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fruits.serve.worker", folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
            # A separate process group, so that its child processes can be killed with it.
            start_new_session=True,
        )
        child = cls(process, version)
        try:
            child.about = await child._answer((), START_SECONDS, START_SECONDS)
        except BaseException:
            await child.stop()
            raise
        if not isinstance(child.about, dict):
            await child.stop()
            raise ChildDied(_NONSENSE)
        if "error" in child.about:
            await child.stop()
            raise ModelRefused(child.about["error"])
        return child

    @property
    def ended(self) -> str | None:
        """How the process ended; None if it runs."""
        code = self._process.returncode
        return None if code is None else _cause(code)

    async def answer(
        self, wanted: Sequence[dict[str, Any]], contents: Sequence[bytes], seconds: float
    ) -> list[dict[str, Any]]:
        """Predicts photographs.

        Args:
            wanted: for each photograph, whether ``thumbnails`` and ``components`` are wanted.
            contents: the contents of the files.
            seconds: the limit of CPU seconds, after which the process is killed.

        Raises:
            ChildDied: the process ended or was killed.
        """
        sizes = [w | {"length": len(content)} for w, content in zip(wanted, contents, strict=True)]
        parts = frames.pack(sizes, contents)
        answers: list[dict[str, Any]] = await self._answer(parts, seconds, PATIENCE * seconds)
        if not _are_answers(answers) or len(answers) != len(contents):
            await self.stop()
            raise ChildDied(_NONSENSE)
        return answers

    async def stop(self) -> None:
        """Kills the process and its child processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def _answer(self, parts: Sequence[bytes], core: float, clock: float) -> Any:
        """The response to a frame, within limits of CPU seconds and wall time."""
        assert self._process.stdin is not None
        # Immediately, so that the process works while the event loop sends earlier responses.
        self._process.stdin.writelines(parts)
        asking = asyncio.create_task(self._ask())
        try:
            reason = await self._watch(asking, core, clock)
            if reason is None:
                return asking.result()
        except (EOFError, ConnectionError):
            reason = f"crashed: {_cause(await self._process.wait())}"
        except (ValueError, RecursionError):
            reason = _NONSENSE
        finally:
            asking.cancel()
        await self.stop()
        raise ChildDied(reason)

    async def _watch(self, asking: "asyncio.Task[Any]", core: float, clock: float) -> str | None:
        """Waits for a response; returns the reason if a limit is reached, otherwise None."""
        loop = asyncio.get_running_loop()
        end, used = loop.time() + clock, self._core_seconds()
        while not asking.done():
            await asyncio.wait({asking}, timeout=_LOOK)
            if asking.done():
                break
            if self._core_seconds() - used > core:
                return f"too slow: more than {core:g} CPU seconds"
            if loop.time() > end:
                return f"too slow: no response for {clock:g} s"
        return None

    def _core_seconds(self) -> float:
        """The CPU seconds of the process on all cores; 0 if the system does not tell."""
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
    return f"the process that decodes {'died of' if code < 0 else 'ended with'} {ending(code)}"


def _are_answers(value: Any) -> bool:
    """Whether a response is a list of answers, as :mod:`fruits.serve.worker` sends them."""
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)
