"""Middleware for every request: access control, headers of responses, and one log line.

The log never has names of files, contents, labels, tokens or queries.
"""

import hmac
import ipaddress
import logging
import re
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

# The header Host: an address of IPv6, or another name; then a port.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]*)?")


class Guard:
    """Middleware around the whole application.

    Args:
        app: the application.
        settings: the settings of the server.
        token: the token that requests must have; None if they need none.
        open_paths: the paths that need no token: the page and the health probes.
        paths: the paths of the application; requests of other paths are counted together.
        metrics: the metrics to update.
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
        # Against DNS rebinding: another site's name may resolve to this address.
        self._checks_host = settings.is_loopback and token is None
        self._open, self._paths = frozenset(open_paths), frozenset(paths)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        started = time.perf_counter()
        try:
            self._require_allowed(scope)
            # A HEAD request gets the headers of GET; the body is not sent.
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            await self._app({**scope, "method": method}, receive, answer.send)
        except Refused as refused:
            await refusal(refused, self._metrics)(scope, receive, answer.send)
        finally:
            self._record(scope, answer.status, time.perf_counter() - started)

    def _require_allowed(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        # Only HTTP/1.0, which no browser sends, may leave out the header.
        host = headers.get("host", "localhost" if scope["http_version"] == "1.0" else "")
        if self._checks_host and not _is_local(host):
            reason = "wanted localhost, or a loopback address, as the host; got another one"
            raise Refused(403, "host", f"{reason}: for other names, the server needs a token")
        if scope["method"] == "POST" and headers.get("sec-fetch-site") == "cross-site":
            raise Refused(403, "cross-site", "pages of other sites may not send photographs here")
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
    """The response to a refused request, which is counted."""
    metrics.refused.labels(refused.kind).inc()
    headers = refused.headers
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": refused.reason}, refused.status, headers)


class _Answer:
    """Sends the response to one request."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        """Sends a part of the response, and adds the headers of every response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def _is_local(host: str) -> bool:
    """Whether a header ``Host`` names this machine, which no page elsewhere can do."""
    found = _HOST.fullmatch(host.lower())
    if not found:
        return False
    address, name = found.groups()
    if name and f".{name.removesuffix('.')}".endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(address or name).is_loopback
    except ValueError:
        return False
