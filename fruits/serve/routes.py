"""The application: its paths and their responses."""

from typing import Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import fruits
from fruits.serve import open_inference, pages, schemas
from fruits.serve.engine import Engine
from fruits.serve.guard import Guard, refusal
from fruits.serve.handlers import Application, respond
from fruits.serve.metrics import Metrics
from fruits.serve.refusal import Refused
from fruits.serve.settings import Settings

# Health probes have no token.
PROBES = ("/ping", "/v2/health/live", "/v2/health/ready")

DESCRIPTION = """
Send photographs, and get predictions. For a file that cannot be used, the response has the reason.

If the server has a token, requests must include it: `Authorization: Bearer TOKEN`. The page and
the health checks need none.
"""

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "keep": {
                            "type": "string",
                            "enum": ["true"],
                            "description": "the sender agrees that the photographs are stored",
                        },
                    },
                }
            },
            "application/octet-stream": _BINARY,
            "image/*": _BINARY,
        },
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.Problem, "description": "no photograph, or an invalid form"},
    401: {"model": schemas.Problem, "description": "the token is missing or wrong"},
    408: {"model": schemas.Problem, "description": "the upload was too slow"},
    413: {"model": schemas.Problem, "description": "too many bytes or files"},
    415: {"model": schemas.Problem, "description": "the body is compressed"},
    422: {"model": schemas.Predictions, "description": "none of the photographs can be used"},
    429: {"model": schemas.Problem, "description": "busy: retry after `Retry-After` seconds"},
    503: {"model": schemas.Problem, "description": "no prediction in time"},
}


def make_app(settings: Settings, engine: Engine, metrics: Metrics, token: str | None) -> ASGIApp:
    """Makes the application.

    Args:
        settings: the settings of the server.
        engine: the engine that predicts.
        metrics: the metrics to update.
        token: the token that requests must have; None if they need none.
    """
    api = FastAPI(
        title="Fruits",
        version=fruits.__version__,
        description=DESCRIPTION,
        # FastAPI's own pages would load scripts from other servers.
        docs_url=None,
        redoc_url=None,
        # Their address would be the one that a client has put into its header Host.
        redirect_slashes=False,
    )
    own = Application(settings, engine, metrics)
    _add_refusals(api, metrics)
    _add_predict(api, own)
    _add_probes(api, own)
    _add_protocol(api, own)
    static = pages.add_pages(api)
    paths = {getattr(route, "path", "") for route in api.routes}
    return Guard(api, settings, token, {*PROBES, *static}, paths, metrics)


def _add_refusals(api: FastAPI, metrics: Metrics) -> None:
    """Gives all errors the same JSON format."""

    @api.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return refusal(error, metrics)

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        wrong = ", ".join(str(one["loc"][-1]) for one in error.errors())
        reason = f"wanted options as described in /docs; got invalid values of: {wrong}"
        return refusal(Refused(400, "option", reason), metrics)

    @api.exception_handler(HTTPException)
    async def missing(_: Request, error: HTTPException) -> Response:
        answer = refusal(Refused(error.status_code, "path", str(error.detail)), metrics)
        answer.headers.update(error.headers or {})
        return answer

    @api.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        # The web server logs the error.
        return refusal(Refused(500, "failure", "the server has failed: see its log"), metrics)


def _add_predict(api: FastAPI, own: Application) -> None:
    @api.post(
        "/predict",
        tags=["Predictions"],
        response_model=schemas.Predictions,
        responses=_PROBLEMS,
        openapi_extra=_BODY,
    )
    async def predict(
        request: Request,
        thumbnails: bool = Query(False, description="include thumbnails of the neighbours"),
        components: bool = Query(False, description="include the components of the PCA"),
    ) -> Response:
        """Predicts photographs: one or several files of a form, or one as the whole body."""
        return await own.predict(request, thumbnails, components)

    @api.get("/model", tags=["Predictions"], response_model=schemas.Model)
    async def model() -> Response:
        """The present model, its training data, and its evaluation."""
        return respond(own.card())

    @api.post(
        "/invocations",
        tags=["SageMaker"],
        response_model=schemas.Predictions,
        responses=_PROBLEMS,
        openapi_extra=_BODY,
    )
    async def invocations(request: Request) -> Response:
        """The same as /predict, with the path of SageMaker."""
        return await own.predict(request, False, False)


def _add_probes(api: FastAPI, own: Application) -> None:
    @api.get("/ping", tags=["SageMaker"], responses={503: {}})
    async def ping() -> Response:
        """Whether the server can predict."""
        return Response(status_code=200 if own.engine.is_ready else 503)

    @api.get("/metrics", tags=["Operation"], response_class=Response)
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(own.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @api.get("/v2/health/live", tags=["Open Inference Protocol"])
    async def live() -> Response:
        """Whether the server runs."""
        return respond({"live": True})

    @api.get("/v2/health/ready", tags=["Open Inference Protocol"], responses={503: {}})
    async def ready() -> Response:
        """Whether it can predict."""
        is_ready = own.engine.is_ready
        return respond({"ready": is_ready}, 200 if is_ready else 503)


def _add_protocol(api: FastAPI, own: Application) -> None:
    name = own.settings.name
    place = f"/v2/models/{name}"
    tags: list[Any] = ["Open Inference Protocol"]

    @api.get("/v2", tags=tags)
    async def server() -> Response:
        """The server and its extensions."""
        extensions = ["binary_tensor_data"]
        return respond({"name": "fruits", "version": fruits.__version__, "extensions": extensions})

    @api.get(place, tags=tags)
    async def metadata() -> Response:
        """The tensors of the model."""
        return respond(open_inference.metadata(name, own.version, own.engine.about["engine"]))

    @api.get(f"{place}/ready", tags=tags, responses={503: {}})
    async def model_ready() -> Response:
        """Whether the model can predict."""
        is_ready = own.engine.is_ready
        return respond({"name": name, "ready": is_ready}, 200 if is_ready else 503)

    infer_body = {"schema": schemas.InferRequest.model_json_schema()}

    @api.post(
        f"{place}/infer",
        tags=tags,
        response_model=schemas.InferResponse,
        responses={code: _PROBLEMS[code] for code in (400, 401, 408, 413, 415, 429, 503)},
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": infer_body}}
        },
    )
    async def infer(request: Request) -> Response:
        """Predicts images, as tensors."""
        return await own.infer(request)
