"""A process that predicts: reads photographs from standard input, and writes predictions.

    python -m fruits.serve.worker FOLDER

It is a separate process because decoders are native code, which malicious files may crash or block.
It ends when its input ends, so it does not outlive the server.
"""

import base64
import os
import signal
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, Any, Protocol

from fruits.errors import ConfigError, FruitsError
from fruits.images.decode_process import limit_memory, watch
from fruits.predictor import Prediction, Predictor
from fruits.serve import frames


class Predicts(Protocol):
    """The part of a predictor that is used here."""

    about: dict[str, Any]

    def predict_many(self, contents: Any) -> Iterator[Prediction | str]:
        """Yields predictions of image files, or reasons for rejections."""
        ...


def main(folder: str) -> None:
    """Loads the predictor of a folder, sends its description, and predicts until the input ends."""
    # The server handles these signals and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    requests, answers = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    # Output that a library prints must not get into the responses.
    os.dup2(2, 1)
    try:
        predictor = Predictor.load(folder)
        if predictor.finds_objects:
            raise ConfigError(
                f"model: wanted a model with one prediction per photograph; got {folder} with a "
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
    """Predicts frame after frame."""
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
    """A prediction as JSON; a rejection has the reason as ``error``.

    Args:
        result: the result of the predictor.
        wanted: whether ``thumbnails`` and ``components`` are wanted.
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


if __name__ == "__main__":
    main(sys.argv[1])
