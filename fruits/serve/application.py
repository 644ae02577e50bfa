"""What the paths of the API do."""

import json
import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fruits.errors import FruitsError
from fruits.serve import inference
from fruits.serve.body import Bodies
from fruits.serve.card import card
from fruits.serve.engine import Answer, Engine
from fruits.serve.metrics import Metrics
from fruits.serve.refusal import Refused
from fruits.serve.settings import Settings
from fruits.serve.uploads import Uploads

log = logging.getLogger(__name__)

# None of the photographs can be used.
UNUSABLE = 422


class Application:
    """What the paths share.

    Args:
        settings: of the server.
        engine: that predicts.
        metrics: where photographs are counted.
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
        """Of the model that answers."""
        return "" if self.engine.model is None else self.engine.model.version

    def card(self) -> dict[str, Any]:
        """What the server says of its model."""
        return card(self.engine.about, self.version, self.settings)

    async def answers(self, contents: list[bytes], **wanted: bool) -> list[Answer]:
        """What the model says of some photographs; they are counted."""
        answers = await self.engine.predict(contents, **wanted)
        self.metrics.answered(answers, self.engine.about.get("threshold"))
        return answers

    async def predict(self, request: Request, thumbnails: bool, components: bool) -> Response:
        """Answers ``/predict`` and ``/invocations``."""
        self.engine.require_room(1)
        buffered, photographs, fields = await self.bodies.files(request)
        try:
            contents: list[Any] = [one.content for one in photographs]
            answers = await self.answers(contents, thumbnails=thumbnails, components=components)
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
        """Answers ``/v2/models/NAME/infer``."""
        self.engine.require_room(1)
        buffered, body = await self.bodies.whole(request)
        try:
            length = request.headers.get("inference-header-content-length")
            asked, images = inference.parse(body, length)
            self._require_few(images)
            components = "components" in inference.wanted(asked)
            answers = await self.answers(images, thumbnails=False, components=components)
        finally:
            buffered.release()
        about = self.engine.about
        widths = {"top": min(5, len(about["labels"])), "components": about["components"]}
        version = next((one["version"] for one in answers if one["version"]), self.version)
        return respond(inference.response(asked, answers, self.settings.name, version, widths))

    def _require_few(self, images: list[bytes]) -> None:
        limit = self.settings.max_files
        if len(images) > limit:
            raise Refused(413, "files", f"wanted {limit} photographs at most; got more")
        for image in images:
            self.bodies.require_size(len(image))

    async def _keep(self, contents: list[bytes], answers: list[Answer]) -> int:
        if self.uploads is None:
            return 0
        try:
            kept = await self.uploads.keep(contents, answers)
        except (FruitsError, OSError) as error:
            # The prediction is right all the same; the answer says that nothing was kept.
            log.error("photographs could not be kept: %s", error)
            return 0
        self.metrics.kept.inc(kept)
        return kept


def respond(value: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Names of files may hold what is no text.
    body = text.encode("utf-8", "replace")
    return Response(body, status, media_type="application/json")
