"""Replaces the API server of Kubernetes: it stores the created objects, and runs nothing."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ApiServer(ThreadingHTTPServer):
    """Stores the objects that it receives.

    Attributes:
        objects: the objects in the order of their creation.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def _create(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        created = json.loads(body)
        self.server.objects.append(created)
        about = {"uid": f"uid-{len(self.server.objects)}", "resourceVersion": "1"}
        created = {**created, "metadata": {**created["metadata"], **about}}
        self._answer(201, created)

    # http.server calls these names.
    do_POST = do_PUT = do_PATCH = _create  # noqa: N815

    def do_GET(self) -> None:
        kind = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404}
        self._answer(404, {**kind, "reason": "NotFound", "message": "there is none"})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Logs nothing."""


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """The server, which is stopped at the end of the block."""
    with ApiServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
