"""Responses of the Open Inference Protocol while the model changes."""

import asyncio
import base64
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from fruits.serve import open_inference
from fruits.serve.engine import Engine, Job
from fruits.serve.handlers import Application
from fruits.serve.metrics import Metrics
from fruits.serve.settings import Settings


def answer(version: str, labels: int, components: int) -> dict[str, Any]:
    """The result of a model with some labels and components."""
    top = [{"label": f"label {n}", "probability": 0.5} for n in range(labels)]
    return {
        "label": "label 0",
        "confidence": 0.5,
        "unknown": False,
        "distance": 1.0,
        "top": top,
        "components": [0.5] * components,
        "version": version,
    }


def about(labels: int, components: int) -> dict[str, Any]:
    return {"labels": [f"label {n}" for n in range(labels)], "components": components}


def infer(*passes: list[dict[str, Any]]) -> tuple[dict[str, Any], Metrics]:
    """The response to a request for components and top labels, and the metrics after it.

    The model changes during the request: the engine has the new description already.

    Args:
        passes: the results for the photographs of the request, and for the same ones again; before
            these, photographs of other requests fill the queue.
    """
    images = len(passes[0])
    metrics = Metrics()
    image = {"name": "image", "shape": [images], "datatype": "BYTES"}
    data = [base64.b64encode(b"photograph").decode()] * images
    outputs = [{"name": name} for name in ("components", "top_label", "error")]
    body = json.dumps({"inputs": [image | {"data": data}], "outputs": outputs}).encode()

    async def ask() -> dict[str, Any]:
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if not parts:
                await asyncio.Event().wait()
            return parts.pop()

        engine = Engine(workers=1, queue=images, image_seconds=10)
        engine.about = about(3, 2) | {"threshold": None}
        own = Application(Settings("unused"), engine, metrics)
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        asking = asyncio.create_task(own.infer(request))
        for answers in passes:
            jobs: list[Job] = []
            while len(jobs) < images:
                jobs += [job for job in await engine.take() if job.content == b"photograph"]
            for job, one in zip(jobs, answers, strict=True):
                job.settle(one)
            future = asyncio.get_running_loop().create_future
            engine._waiting.extend(Job(b"other", {}, future()) for _ in range(images))
            await asyncio.sleep(0.01)
        return dict(json.loads(bytes((await asking).body)))

    return asyncio.run(ask()), metrics


def test_a_result_keeps_the_shape_of_its_own_model() -> None:
    rejected = {"error": "not an image: text file", "version": "old"}
    found, _ = infer([answer("old", 5, 4), rejected])
    assert found["model_version"] == "old"
    assert [one["shape"] for one in found["outputs"]] == [[2, 4], [2, 5], [2]]
    assert found["outputs"][0]["data"] == [0.5] * 4 + [0.0] * 4


def test_results_of_two_models_are_not_in_one_tensor_and_each_photograph_counts_once() -> None:
    mixed = [answer("old", 5, 4), answer("new", 3, 2)]
    found, metrics = infer(mixed, [answer("new", 3, 2)] * 2)
    assert found["model_version"] == "new"
    assert [one["shape"] for one in found["outputs"]] == [[2, 2], [2, 3], [2]]
    assert metrics.registry.get_sample_value("fruits_images_total", {"outcome": "known"}) == 2


def test_without_any_usable_image_the_shape_is_that_of_the_present_model() -> None:
    found, _ = infer([{"error": "crashed", "version": ""}])
    assert [one["shape"] for one in found["outputs"]] == [[1, 2], [1, 3], [1]]


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_the_platform_names_the_engine(engine: str) -> None:
    assert open_inference.metadata("fruits", "1", engine)["platform"] == f"fruits_{engine}"
