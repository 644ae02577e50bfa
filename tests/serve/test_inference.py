"""Responses of the Open Inference Protocol while the model changes."""

import asyncio
import base64
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from fruits.serve import inference
from fruits.serve.application import Application
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


class Changing:
    """An engine whose model changes during a request: it has the new description already."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self.about = about(3, 2) | {"threshold": None}
        self.model, self.waiting, self.restarts = None, 0, 0
        self._answers = iter(answers)

    def require_room(self, count: int) -> None:
        pass

    async def predict(self, contents: list[bytes], **wanted: bool) -> list[dict[str, Any]]:
        return next(self._answers)


def infer(engine: Changing, images: int) -> dict[str, Any]:
    """The response to a request for components and top labels."""
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

        own = Application(Settings("unused"), engine, Metrics())  # type: ignore[arg-type]
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        return dict(json.loads((await own.infer(request)).body))

    return asyncio.run(ask())


def test_a_result_keeps_the_shape_of_its_own_model() -> None:
    rejected = {"error": "not an image: text file", "version": "old"}
    found = infer(Changing([answer("old", 5, 4), rejected]), 2)
    assert found["model_version"] == "old"
    assert [one["shape"] for one in found["outputs"]] == [[2, 4], [2, 5], [2]]
    assert found["outputs"][0]["data"] == [0.5] * 4 + [0.0] * 4


def test_results_of_two_models_are_not_in_one_tensor() -> None:
    mixed = [answer("old", 5, 4), answer("new", 3, 2)]
    found = infer(Changing(mixed, [answer("new", 3, 2)] * 2), 2)
    assert found["model_version"] == "new"
    assert [one["shape"] for one in found["outputs"]] == [[2, 2], [2, 3], [2]]


def test_without_any_usable_image_the_shape_is_that_of_the_present_model() -> None:
    found = infer(Changing([{"error": "crashed", "version": ""}]), 1)
    assert [one["shape"] for one in found["outputs"]] == [[1, 2], [1, 3], [1]]


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_the_platform_names_the_engine(engine: str) -> None:
    assert inference.metadata("fruits", "1", engine)["platform"] == f"fruits_{engine}"
