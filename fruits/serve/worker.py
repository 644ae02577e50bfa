"""A process that predicts: photographs come through its standard input, answers go out.

    python -m fruits.serve.worker FOLDER

It is a process of its own since decoders are native code, which a malicious file may crash or keep
busy. It ends when its input ends, so never outlives the server for long.
"""

import base64
import os
import resource
import signal
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, Any, Protocol

from fruits.errors import ConfigError, FruitsError
from fruits.predictor import Prediction, Predictor
from fruits.serve import frames
from fruits.sources.limited import MAX_MEMORY, watch


class Predicts(Protocol):
    """What of a predictor is used here."""

    about: dict[str, Any]

    def predict_many(self, contents: Any) -> Iterator[Prediction | str]:
        """The predictions of some image files, or the reasons why there are none."""
        ...


def main(folder: str) -> None:
    """Loads the predictor of a folder, says what it is, and answers until the input ends."""
    # Both are for the server, which says when it is time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    requests, answers = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    # What a library prints must not get among the answers.
    os.dup2(2, 1)
    try:
        predictor = Predictor.load(folder)
        if predictor.finds_objects:
            raise ConfigError(
                f"model: wanted one that says one thing of a photograph; that in {folder} has a "
                "detector, which may find several objects: use fruits predict, or "
                "Predictor.predict_objects in Python"
            )
    except FruitsError as error:
        send(answers, {"error": str(error)})
        return
    limit_memory()
    watch()
    send(answers, predictor.about)
    serve(predictor, requests, answers)


def serve(predictor: Predicts, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers frame after frame."""
    while True:
        try:
            wanted, content = frames.read(requests)
        except EOFError:
            return
        ends = [0]
        for image in wanted:
            ends.append(ends[-1] + image["length"])
        contents = (content[start:end] for start, end in pairwise(ends))
        results = predictor.predict_many(contents)
        send(
            answers, [as_json(result, image) for result, image in zip(results, wanted, strict=True)]
        )


def as_json(result: Prediction | str, wanted: dict[str, Any]) -> dict[str, Any]:
    """A prediction as JSON; a reason stands as ``error``.

    Args:
        result: of the predictor.
        wanted: whether ``thumbnails`` and ``components`` are.
    """
    if isinstance(result, str):
        return {"error": result}
    answer: dict[str, Any] = {
        "label": result.label,
        "confidence": float(result.confidence),
        "unknown": bool(result.unknown),
        "distance": float(result.distance),
        "top": [{"label": label, "probability": float(p)} for label, p in result.top],
        "neighbours": [
            {"path": n.path, "label": n.label, "distance": float(n.distance)}
            for n in result.neighbours
        ],
    }
    if wanted["thumbnails"]:
        for neighbour, found in zip(answer["neighbours"], result.neighbours, strict=True):
            data = found.thumbnail
            neighbour["thumbnail"] = None if data is None else base64.b64encode(data).decode()
    if wanted["components"]:
        answer["components"] = result.components.tolist()
    return answer


def send(answers: IO[bytes], value: Any) -> None:
    """Writes one frame."""
    answers.write(b"".join(frames.pack(value)))
    answers.flush()


def limit_memory() -> None:
    """From now on, this process may take :data:`MAX_MEMORY` more than it has."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # A system without /proc, whose address space is not limited closely.
        return
    limit = taken + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main(sys.argv[1])
