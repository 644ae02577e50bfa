"""What every request goes through: who may ask, what every answer carries, one line of log.

Neither names of files nor contents, labels, tokens or queries are logged.
"""

import hmac
import logging
import time
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fruits.serve.metrics import Metrics
from fruits.serve.refusal import Refused
from fruits.serve.settings import Settings

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}


class Guard:
    """Middleware around the whole application.

    Args:
        app: the application.
        settings: of the server.
        token: that requests must carry; None where they need none.
        open_paths: for which no token is needed: the page, and the probes of health.
        paths: those that the application has; others are counted together.
        metrics: where requests are counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        token: str | None,
        open_paths: Iterable[str],
        paths: Iterable[str],
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        # A page elsewhere may give its own name to this address, and then read what it answers.
        self._checks_host = settings.is_loopback and token is None
        self._open, self._paths = frozenset(open_paths), frozenset(paths)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        started = time.perf_counter()
        try:
            self._require_allowed(scope)
            await self._app(scope, receive, answer.send)
        except Refused as refused:
            await refusal(refused, self._metrics)(scope, receive, answer.send)
        finally:
            self._record(scope, answer.status, time.perf_counter() - started)

    def _require_allowed(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._checks_host and _host(headers.get("host", "")) not in LOCAL_NAMES:
            raise Refused(403, "host", "wanted this machine's own name; got another one")
        if scope["method"] == "POST" and headers.get("sec-fetch-site") == "cross-site":
            raise Refused(403, "cross-site", "pages elsewhere may not send photographs here")
        if self._token is not None and scope["path"] not in self._open:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            given = token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
            if not hmac.compare_digest(given, self._token):
                raise Refused(401, "token", "wanted the header 'Authorization: Bearer TOKEN'")

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        known = scope["path"] in self._paths
        path = scope["path"] if known else "other"
        self._metrics.requests.labels(path, str(status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        log.info("%s %s %d %.0f ms", scope["method"], path, status, seconds * 1000)


def refusal(refused: Refused, metrics: Metrics) -> Response:
    """The answer to a request that is refused, which is counted."""
    metrics.refused.labels(refused.kind).inc()
    headers = refused.headers
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": refused.reason}, refused.status, headers)


class _Answer:
    """The answer to one request."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        """Sends a part of it, with what every answer carries."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def _host(header: str) -> str:
    """The name in a header ``Host``, without the port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0].lower()
