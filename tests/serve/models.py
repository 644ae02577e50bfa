"""Small predictors for synthetic fruit, made without Spark, and their servers."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
from PIL import Image
from ports import free_port

from fruits.classify.fit import Discriminant
from fruits.classify.transforms import transform_features
from fruits.features.moments import Moments
from fruits.features.rows import lists
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import featurize
from fruits.predictor import write_predictor
from fruits.reduction.fit import fit_reduction
from fruits.reduction.transform import affine
from fruits.storage.location import Location

ROOT = Path(__file__).parents[2]

EVALUATION = [
    {"scheme": "split: test", "images": 24, "accuracy": 0.975, "top5": 1.0, "identical": 0},
    {"scheme": "grouped cross-validation", "images": 48, "accuracy": 0.931, "top5": 1.0},
]


def thumbnail(content: bytes) -> bytes:
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    picture.thumbnail((96, 96))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def write_model(
    place: Path, graph: CompiledGraph, files: list[Path], others: list[bytes], shrinkage: float
) -> None:
    """Writes a predictor for photographs, whose labels are the names of their folders.

    Half of all other photographs exceed the threshold of unknown images.
    """
    contents = [file.read_bytes() for file in files]
    labels = [file.parent.name for file in files]
    features = np.stack(list(featurize(contents, graph)))  # type: ignore[arg-type]
    learned = Discriminant.of(Moments.of(transform_features(features, "sqrt"), labels))
    strange = np.stack(list(featurize(others, graph)))  # type: ignore[arg-type]
    threshold = float(np.median(learned.classifier(shrinkage, "sqrt").distances(strange)))
    reduction = fit_reduction(Moments.of(features), "minmax", 0.97)
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    rows = pa.table(
        {
            "path": [f"file:{file}" for file in files],
            "label": labels,
            "sha256": digests,
            "pca": lists(affine(features, reduction.weights, reduction.offset)),
        }
    )
    pictures = pa.array([thumbnail(content) for content in contents], pa.binary())
    write_predictor(
        Location.of(str(place)),
        graph,
        reduction,
        learned.classifier(shrinkage, "sqrt", 8.0, threshold),
        rows.to_batches(10),
        [pa.record_batch({"sha256": pa.array(digests), "thumbnail": pictures})],
        {
            "evaluation": EVALUATION,
            "images": "file:/home/somebody/fruits/Training",
            "classifier": {"training_images": 2_000_000, "groups_by": {"block": 4}},
        },
    )


class Server:
    """A running ``fruits serve``."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def predict(self, *contents: bytes, **options: str) -> httpx.Response:
        files = [("files", (f"{n}.jpg", content)) for n, content in enumerate(contents)]
        return self.client.post("/predict", files=files, params=options)

    def metric(self, line: str) -> float:
        """The value of a line of ``/metrics``; 0 if it is missing."""
        lines = self.client.get("/metrics").text.splitlines()
        return next((float(one[len(line) :]) for one in lines if one.startswith(line + " ")), 0.0)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def served(
    model: Path | str, folder: Path, *options: str, environment: dict[str, str] | None = None
) -> Iterator[Server]:
    """A server that has loaded its model; it is stopped at the end."""
    port = free_port()
    log = folder / f"serve-{port}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "fruits.cli", "serve", "--model", str(model)),
                *("--port", str(port), *options),
            ],
            stderr=file,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {}),
        )
    server = Server(process, port, log)
    try:
        wait_for(lambda: "serving at" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        server.client.close()
        if process.poll() is None:
            server.end()


def wait_for(condition: Callable[[], object], seconds: float = 180) -> None:
    """Waits until a function returns a true value."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
