"""Decodes images whose cost is unknown in a child process with limits of time and memory.

The process starts with the first such image, decodes one image after the other, and is started
again if an image ends it.
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

import numpy as np
from numpy.typing import NDArray

from fruits.images.resize import InputSpec
from fruits.images.size_limits import RejectedImage
from fruits.storage.processes import ending
from fruits.storage.streams import read_exactly

# Without a spec, the image keeps its original size.
Decode = Callable[[bytes, InputSpec | None, bool], NDArray[np.uint8]]

# Limits for one image: CPU seconds, and bytes in addition to the process with all its modules.
MAX_SECONDS = 30
MAX_MEMORY = 2 << 30
# CPU seconds for an image that is decoded in this process, because its cost is known: see `watch`.
MAX_WATCHED_SECONDS = 25
# Seconds to wait for an answer, in case the machine is busy.
_MAX_WAIT = 20 * MAX_SECONDS

# Lengths of the content and of the input spec; whether JPEG is decoded at full scale.
_REQUEST = struct.Struct("<QQ?")
# Length of the pixels or of the reason; height and width, which are 0 for a reason.
_ANSWER = struct.Struct("<QII")
_PROGRAM = (
    "from fruits.images.decode import decode_here\n"
    "from fruits.images.decode_process import serve\n"
    "serve(decode_here)"
)


def decode_limited(
    content: bytes, spec: InputSpec | None, exact: bool = False
) -> NDArray[np.uint8]:
    """Like :func:`fruits.images.decode.decode`, in the process with limits.

    Raises:
        RejectedImage: with the reason; it may be that a limit was reached.
    """
    global _child
    with _lock:
        # A forked process must neither use nor end its parent's child process.
        if _child is None or _child.owner != os.getpid() or _child.ended:
            _child = _Child()
        answer = _child.answer(content, spec, exact)
        if answer is None and (reason := _child.cause()) is not None:
            raise RejectedImage(reason)
        if answer is None:
            # Killed from outside, for example because memory ran out: maybe not by this image.
            _child = _Child()
            answer = _child.answer(content, spec, exact)
        if answer is None:
            raise RejectedImage(_child.cause() or "crashed: the decoder was killed, twice")
    data, height, width = answer
    if not height:
        raise RejectedImage(data.decode())
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


class _Child:
    """The child process that decodes."""

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
        """Pixels, height and width, or the reason and zeros; None if the process has ended."""
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
            length, height, width = _ANSWER.unpack(read_exactly(self._process.stdout, _ANSWER.size))
            return read_exactly(self._process.stdout, length), height, width
        except (EOFError, BrokenPipeError):
            return None

    def cause(self) -> str | None:
        """Why the process has ended; None if it was killed from outside."""
        if self._timed_out:
            self.stop()
            return f"too slow: no answer from the decoder for {_MAX_WAIT} s"
        code = self._process.wait()
        self.stop()
        if code == -signal.SIGXCPU:
            return f"too slow: decoding takes more than {MAX_SECONDS} CPU seconds"
        if code == -signal.SIGKILL:
            return None
        return f"crashed: the decoder died of {ending(code)}"

    def stop(self) -> None:
        """Ends the process, unless it was started by the parent of a fork."""
        if self.owner != os.getpid():
            return
        self.ended = True
        atexit.unregister(self.stop)
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # The rest of the request is not needed any more.
                continue
        self._process.wait()


_watching = False


def watch() -> None:
    """From now on, SIGVTALRM ends this process if decoding an image takes too long.

    Use it only in processes that may end: a worker, whose chunk is then repeated with each
    image in a separate process, and such a separate process. The cost of images that are decoded in
    this process is known from their headers; this is a second limit in case the cost was wrong.
    """
    global _watching
    _watching = hasattr(signal, "setitimer")


def with_time_limit(
    decode: Decode, content: bytes, spec: InputSpec | None, exact: bool
) -> NDArray[np.uint8]:
    """Calls ``decode``, with the time limit of :func:`watch` if that was called."""
    if not _watching:
        return decode(content, spec, exact)
    # It counts user time of this process. The signal ends the process even inside native code.
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_WATCHED_SECONDS)
    try:
        return decode(content, spec, exact)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


_child: _Child | None = None
_lock = threading.Lock()


def serve(decode: Decode) -> None:
    """Decodes images from the standard input until it is closed.

    Args:
        decode: :func:`fruits.images.decode.decode_here`, which imports this module.
    """
    import resource

    requests, answers = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    # Output that a library prints must not get into the answers.
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent process handles Ctrl-C.
    limit_memory()
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    while True:
        try:
            length, about, exact = _REQUEST.unpack(read_exactly(requests, _REQUEST.size))
            said = json.loads(read_exactly(requests, about))
            content = read_exactly(requests, length)
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


def limit_memory(statm: str = "/proc/self/statm") -> None:
    """Limits the memory of this process to :data:`MAX_MEMORY` more than it uses now.

    There is no limit on systems without /proc. On macOS, a process may already be larger than this
    limit when it starts, and the limit would be refused.

    Args:
        statm: the file with the size of this process, in pages.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open(statm) as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    limit = taken + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
