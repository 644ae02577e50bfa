"""A small S3 server that simulates the failures of real stores."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = b"a picture" * 1000


class Store(ThreadingHTTPServer):
    """Has the same object under every key; a test can set the responses to the first requests.

    Attributes:
        answers: The responses to the first requests of each key: a status and an error code;
            ``"lost"`` (the request is done, but there is no response); or ``"torn"`` (the
            connection breaks in the middle of the response).
        asked: The number of requests for each key.
        ranges: The requested ranges: the first byte, and the byte after the last one.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.answers: dict[str, list[tuple[int, str] | str]] = {}
        self.asked: Counter[str] = Counter()
        self.kept: set[str] = set()
        self.ranges: list[tuple[int, int]] = []


class Handler(BaseHTTPRequestHandler):
    server: Store
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        key = self.path.split("?")[0].rpartition("/")[2]
        self.server.asked[key] += 1
        answers = self.server.answers.get(key)
        answer = answers.pop(0) if answers else (200, "")
        body = b"<ListBucketResult/>" if "list-type=2" in self.path else CONTENT
        if self.command == "PUT":
            body = b""
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("If-None-Match") and key in self.server.kept:
                answer = (412, "PreconditionFailed")
            elif answer in ("lost", (200, "")):
                self.server.kept.add(key)
        if answer == "lost":
            self.close_connection = True
            return
        status, code = (200, "") if isinstance(answer, str) else answer
        if code:
            body = f"<Error><Code>{code}</Code><Message>so be it</Message></Error>".encode()
        elif ranged := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            self.server.ranges.append((int(ranged[1]), int(ranged[2]) + 1))
            status, body = 206, body[int(ranged[1]) : int(ranged[2]) + 1]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:100] if answer == "torn" else body)
        self.close_connection = answer == "torn"

    do_HEAD = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Store]:
    with Store() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
