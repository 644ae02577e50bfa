"""A child process that sends invalid responses, as if an attacker controlled its decoder."""

import asyncio
import signal
import sys

import pytest

from fruits.serve import frames
from fruits.serve.child import Child, ChildDied


async def _answer(sent: bytes) -> object:
    return await _answer_of(
        f"import sys; sys.stdout.buffer.write({sent!r}); sys.stdout.flush(); sys.stdin.read()"
    )


async def _answer_of(script: str) -> object:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    child = Child(process, "version")
    try:
        return await child.answer([{}, {}], [b"one", b"two"], 60)
    finally:
        await child.stop()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x04\0\0\0" + bytes(8) + b"{{{{",
        b"\x04\0\0\0" + bytes(8) + b"\xff\xff\xff\xff",
        b"".join(frames.pack([{"label": "one"}])),
        b"".join(frames.pack({"label": "one", "error": "two"})),
        b"".join(frames.pack(["one", "two"])),
    ],
)
def test_it_is_ended_and_its_photographs_have_a_reason(sent: bytes) -> None:
    with pytest.raises(ChildDied, match="sent an invalid response"):
        asyncio.run(_answer(sent))


def test_an_answer_for_each_photograph_is_one() -> None:
    answers = [{"label": "one"}, {"label": "two"}]
    assert asyncio.run(_answer(b"".join(frames.pack(answers)))) == answers


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="no real-time signals")
def test_a_signal_without_a_name_is_a_number() -> None:
    with pytest.raises(ChildDied, match=f"died of signal {signal.SIGRTMIN + 3}"):
        asyncio.run(_answer_of(f"import os; os.kill(os.getpid(), {signal.SIGRTMIN + 3})"))
