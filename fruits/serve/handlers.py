"""The implementation of the API's paths."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fruits.serve import open_inference
from fruits.serve.body import Bodies
from fruits.serve.card import card
from fruits.serve.engine import Answer, Engine
from fruits.serve.metrics import Metrics
from fruits.serve.refusal import Refused
from fruits.serve.settings import Settings
from fruits.serve.uploads import Uploads

# None of the photographs can be used.
UNUSABLE = 422


class Application:
    """The shared state of the paths.

    Args:
        settings: the settings of the server.
        engine: the engine that predicts.
        metrics: the metrics to update.
    """

    def __init__(self, settings: Settings, engine: Engine, metrics: Metrics) -> None:
        self.settings = settings
        self.engine = engine
        self.metrics = metrics
        self.bodies = Bodies(settings)
        self.uploads = None if settings.keep_uploads is None else Uploads(settings.keep_uploads)
        metrics.watch("fruits_queue_images", "Photographs that wait.", lambda: engine.waiting)
        metrics.watch(
            "fruits_buffered_bytes", "Bytes of bodies in memory.", lambda: self.bodies.buffered
        )
        metrics.watch(
            "fruits_predictor_deaths", "Processes that were replaced.", lambda: engine.restarts
        )

    @property
    def version(self) -> str:
        """The version of the present model."""
        return "" if self.engine.model is None else self.engine.model.version

    def card(self) -> dict[str, Any]:
        """The description of the present model."""
        return card(self.engine.about, self.version, self.settings)

    async def answers(
        self, request: Request, contents: list[bytes], **wanted: bool
    ) -> list[Answer]:
        """The predictions for some photographs, which are counted.

        Raises:
            Refused: there is no answer, or the client disconnected.
        """
        answers = await _while_there(request, self.engine.predict(contents, **wanted))
        self.metrics.answered(answers, self.engine.about.get("threshold"))
        return answers

    async def predict(self, request: Request, thumbnails: bool, components: bool) -> Response:
        """Handles ``/predict`` and ``/invocations``."""
        self.engine.require_room(1)
        buffered, photographs, fields = await self.bodies.files(request)
        try:
            contents: list[Any] = [one.content for one in photographs]
            wanted = {"thumbnails": thumbnails, "components": components}
            answers = await self.answers(request, contents, **wanted)
            consent = fields.get("keep", request.query_params.get("keep")) == "true"
            kept = await self._keep(contents, answers) if consent else 0
        finally:
            buffered.release()
        found = {
            "model": self.settings.name,
            "predictions": [
                {"file": one.name, **answer}
                for one, answer in zip(photographs, answers, strict=True)
            ],
            "kept": kept,
        }
        return respond(found, UNUSABLE if all("error" in one for one in answers) else 200)

    async def infer(self, request: Request) -> Response:
        """Handles ``/v2/models/NAME/infer``."""
        self.engine.require_room(1)
        buffered, body = await self.bodies.whole(request)
        try:
            length = request.headers.get("inference-header-content-length")
            asked, images = open_inference.parse(body, length)
            self._require_few(images)
            components = "components" in open_inference.wanted(asked)
            wanted = {"thumbnails": False, "components": components}
            # A tensor has the results of one model.
            answers = await self.answers(request, images, one_model=True, **wanted)
        finally:
            buffered.release()
        version = next((one["version"] for one in answers if "error" not in one), self.version)
        return respond(
            open_inference.response(asked, answers, self.settings.name, version, self.engine.about)
        )

    def _require_few(self, images: list[bytes]) -> None:
        limit = self.settings.max_files
        if len(images) > limit:
            raise Refused(413, "files", f"wanted at most {limit} photographs; got more")
        for image in images:
            self.bodies.require_size(len(image))

    async def _keep(self, contents: list[bytes], answers: list[Answer]) -> int:
        if self.uploads is None:
            return 0
        kept = await self.uploads.keep(contents, answers)
        self.metrics.kept.inc(kept)
        return kept


async def _while_there(request: Request, work: Coroutine[Any, Any, list[Answer]]) -> list[Answer]:
    """Returns the result of some work, which is cancelled if the client disconnects."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_leaves(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Refused(400, "gone", "the client disconnected")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait((working, leaving))


async def _leaves(request: Request) -> None:
    """Returns when the client of a request, whose body has been read, disconnects."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def respond(value: Any, status: int = 200) -> Response:
    """A response in JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Names of files may have surrogates, which cannot be encoded.
    body = text.encode("utf-8", "replace")
    return Response(body, status, media_type="application/json")
