"""Decoding in a process with a limit of time and memory, for what headers do not bound.

The process is started when the first such image comes, serves one image after the other, and is
started again when an image has ended it.
"""

import atexit
import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fruits.sources.limits import RejectedImage
from fruits.sources.resize import InputSpec

# Without a specification, the pixels are as many as the file has.
Decode = Callable[[bytes, InputSpec | None, bool], NDArray[np.uint8]]

# Of one image: seconds of one core, and bytes beyond what the process takes with all its modules.
MAX_SECONDS = 30
MAX_MEMORY = 2 << 30
# Of an image that is decoded in the process itself, whose cost is known: see watch.
MAX_WATCHED_SECONDS = 25
# Waiting for an answer, where the machine is busy with other things.
_MAX_WAIT = 20 * MAX_SECONDS

# Bytes of the content and of the input specification; whether JPEG is decoded at full scale.
_REQUEST = struct.Struct("<QQ?")
# Bytes of the pixels or of the reason; height and width, which are 0 for a reason.
_ANSWER = struct.Struct("<QII")
_PROGRAM = (
    "from fruits.sources.decode import decode_here\n"
    "from fruits.sources.limited import serve\n"
    "serve(decode_here)"
)


def decode_limited(
    content: bytes, spec: InputSpec | None, exact: bool = False
) -> NDArray[np.uint8]:
    """The pixels of an image file like :func:`fruits.sources.decode.decode`, within the limits.

    Raises:
        RejectedImage: with the reason, which may be that the limits were met.
    """
    global _child
    with _lock:
        # A process that was forked off has no say in what its parent started.
        if _child is None or _child.owner != os.getpid() or _child.ended:
            _child = _Child()
        answer = _child.answer(content, spec, exact)
        if answer is None and (reason := _child.cause()) is not None:
            raise RejectedImage(reason)
        if answer is None:
            # Killed from outside, as the kernel does when memory runs out: maybe not for this one.
            _child = _Child()
            answer = _child.answer(content, spec, exact)
        if answer is None:
            raise RejectedImage(_child.cause() or "crashed: the decoder was killed, twice")
    data, height, width = answer
    if not height:
        raise RejectedImage(data.decode())
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


class _Child:
    """The process that decodes."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.ended = False
        self._timed_out = False
        paths = [path or os.getcwd() for path in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )
        atexit.register(self.stop)

    def answer(
        self, content: bytes, spec: InputSpec | None, exact: bool
    ) -> tuple[bytes, int, int] | None:
        """Pixels, height and width, or the reason and zeros; None when the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            about = json.dumps(spec and asdict(spec)).encode()
            self._process.stdin.write(_REQUEST.pack(len(content), len(about), exact))
            self._process.stdin.write(about)
            self._process.stdin.write(content)
            self._process.stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ)
                self._timed_out = not selector.select(_MAX_WAIT)
            if self._timed_out:
                return None
            length, height, width = _ANSWER.unpack(_read(self._process.stdout, _ANSWER.size))
            return _read(self._process.stdout, length), height, width
        except (EOFError, BrokenPipeError):
            return None

    def cause(self) -> str | None:
        """Why the process has ended; None when it was killed from outside."""
        if self._timed_out:
            self.stop()
            return f"too slow: no answer of the decoder for {_MAX_WAIT} s"
        code = self._process.wait()
        self.stop()
        if code == -signal.SIGXCPU:
            return f"too slow: more than {MAX_SECONDS} s of one core to decode"
        if code == -signal.SIGKILL:
            return None
        name = signal.Signals(-code).name if code < 0 else f"status {code}"
        return f"crashed: the decoder died of {name}"

    def stop(self) -> None:
        """Ends the process, unless it belongs to the process that this one was forked off."""
        if self.owner != os.getpid():
            return
        self.ended = True
        atexit.unregister(self.stop)
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # What was left to be written is not wanted any more.
                continue
        self._process.wait()


_watching = False


def watch() -> None:
    """From now on, an image on which this process works for too long ends it, by SIGVTALRM.

    For processes that may end: a Spark worker, whose chunk is then repeated with each image in a
    process of its own, and such a process. Images that are decoded in this process have had their
    cost read from their headers; this is a second limit, in case that the cost was wrong.
    """
    global _watching
    _watching = hasattr(signal, "setitimer")


def watched(
    decode: Decode, content: bytes, spec: InputSpec | None, exact: bool
) -> NDArray[np.uint8]:
    """What ``decode`` gives, in a process that may be watched."""
    if not _watching:
        return decode(content, spec, exact)
    # User time of this process. The signal ends it even within native code.
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_WATCHED_SECONDS)
    try:
        return decode(content, spec, exact)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


_child: _Child | None = None
_lock = threading.Lock()


def stop() -> None:
    """Ends the process with limits, if there is one; the next image starts another."""
    with _lock:
        if _child is not None:
            _child.stop()


def serve(decode: Decode) -> None:
    """Decodes what comes through the standard input, until it is closed.

    Args:
        decode: :func:`fruits.sources.decode.decode_here`, which imports this module.
    """
    import resource

    requests, answers = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    # What a library prints must not get among the answers.
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _address_space() + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    while True:
        try:
            length, about, exact = _REQUEST.unpack(_read(requests, _REQUEST.size))
            said = json.loads(_read(requests, about))
            content = _read(requests, length)
        except EOFError:
            return
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + MAX_SECONDS + 1, most))
        try:
            pixels = decode(content, said and InputSpec(**said), exact)
            data, (height, width, _) = pixels.tobytes(), pixels.shape
        except RejectedImage as rejected:
            data, height, width = str(rejected).encode(), 0, 0
        answers.write(_ANSWER.pack(len(data), height, width) + data)
        answers.flush()


def _address_space() -> int:
    """What this process takes of its address space, in bytes."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 1 << 30  # A system without /proc; its address space is not limited closely.


def _read(file: IO[bytes], length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data
