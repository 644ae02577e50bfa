"""Computes features in a separate process, so that an image that crashes it is only rejected.

Decoders and engines are native code, and a malicious file may crash the process that reads it. This
is slower than :func:`fruits.networks.objects.featurize`, and used only for chunks in which a worker
crashed.
"""

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection

from fruits.images.decode_process import MAX_WATCHED_SECONDS, watch
from fruits.networks.graph import CompiledGraph
from fruits.networks.objects import Result, featurize
from fruits.networks.runtime import GROUP, Keep
from fruits.storage.processes import ending

Results = list[Result]


# The results of some contents, and their thumbnails.
Answer = tuple[Results, list[bytes | None]]


class WorkerKilledError(Exception):
    """The process was killed from outside, for example because memory ran out."""


def featurize_in_subprocess(
    contents: Iterable[bytes | Exception], graph: CompiledGraph, keep: Keep | None = None
) -> Iterator[Result]:
    """Like :func:`fruits.networks.objects.featurize`, in a separate process.

    Raises:
        WorkerKilledError: the process was killed from outside; no image is the cause.
    """
    stream = iter(contents)
    with _Child(graph) as child:
        while group := list(islice(stream, GROUP)):
            answer = child.answer(group)
            # If the process died, one of these is the cause; each is tried separately.
            answers = [answer] if answer else [child.answer_or_death(one) for one in group]
            for results, thumbnails in answers:
                if keep:
                    for picture in thumbnails:
                        keep(picture)
                yield from results


class _Child:
    """A process that computes features, and is started again if it crashes."""

    def __init__(self, graph: CompiledGraph) -> None:
        self.graph = graph
        self.death = ""
        self._start()

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join()

    def answer_or_death(self, content: bytes | Exception) -> Answer:
        """The result of one content, or the cause of a crash."""
        return self.answer([content]) or ([f"crashed: {self.death}"], [None])

    def answer(self, contents: list[bytes | Exception]) -> Answer | None:
        """The results of some contents, or None if the process crashed."""
        try:
            self._connection.send(contents)
            answer = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            self.death = _cause(self._process.exitcode)
            self._start()
            return None
        if isinstance(answer, Exception):
            raise answer
        found: Answer = answer
        return found

    def _start(self) -> None:
        # Not a fork, which would not copy the threads of the worker and of the engine.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.graph), daemon=True)
        self._process.start()
        theirs.close()


def _cause(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        raise WorkerKilledError("killed by SIGKILL")
    if exit_code == -signal.SIGVTALRM:
        return f"the decoder took more than {MAX_WATCHED_SECONDS} CPU seconds"
    if exit_code is not None and exit_code < 0:
        return f"the decoder or the engine died of {ending(exit_code)}"
    return f"the decoder or the engine ended the process with status {exit_code}"


def _serve(connection: Connection, graph: CompiledGraph) -> None:
    watch()
    while True:
        try:
            contents = connection.recv()
        except EOFError:
            return
        try:
            thumbnails: list[bytes | None] = []
            results = list(featurize(contents, graph, thumbnails.append))
            answer: Answer | Exception = results, thumbnails
        except Exception as error:
            answer = error
        connection.send(answer)
