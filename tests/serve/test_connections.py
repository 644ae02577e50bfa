"""The limits of connections, and of the bytes in memory for all of them."""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from models import ROOT, Server, served, wait_for
from starlette.requests import Request
from starlette.types import Message

from fruits.serve import body
from fruits.serve.body import Bodies
from fruits.serve.refusal import Refused
from fruits.serve.settings import Settings

# Few connections, and no limit of time but that of the client that must read.
LIMITS = """
import fruits.serve.body as body
import fruits.serve.connections as connections
body.MAX_GAP = connections.HEADER_SECONDS = 1000
connections.SEND_SECONDS = 1
connections.MAX_CONNECTIONS = 5
"""


@pytest.fixture(scope="module")
def tight(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tight")
    (folder / "sitecustomize.py").write_text(LIMITS)
    environment = {"PYTHONPATH": f"{folder}:{ROOT}"}
    with served(model, folder, "--upload-seconds", "3600", environment=environment) as server:
        yield server


def connect(server: Server, count: int, data: bytes = b"") -> list[socket.socket]:
    found = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(count)]
    for one in found:
        one.sendall(data)
    return found


def are_closed(connections: list[socket.socket]) -> list[bool]:
    """Whether the server has closed each connection, on which it sends nothing."""
    closed = select.select(connections, [], [], 0)[0]
    return [one in closed for one in connections]


def test_a_new_connection_replaces_an_idle_one(tight: Server) -> None:
    idle = connect(tight, 5)
    [one] = connect(tight, 1, b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert one.recv(65536).startswith(b"HTTP/1.1 200 ")
    wait_for(lambda: any(are_closed(idle)), 60)
    assert sum(are_closed(idle)) == 1
    for connection in (*idle, one):
        connection.close()


def test_without_an_idle_connection_a_new_one_is_closed(tight: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    busy = []
    for _ in range(5):
        busy += connect(tight, 1, head + b"Expect: 100-continue\r\n\r\n")
        # With this response, the server has begun to read the body.
        assert busy[-1].recv(65536).startswith(b"HTTP/1.1 100 ")
    [one] = connect(tight, 1)
    with contextlib.suppress(ConnectionError):
        assert one.recv(65536) == b""
    assert not any(are_closed(busy))
    for connection in (*busy, one):
        connection.close()


def test_a_client_that_does_not_read_does_not_block_others_and_is_disconnected(
    tight: Server,
) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", tight.port))
        deaf.setblocking(False)

        def is_disconnected() -> bool:
            try:
                deaf.send(request * 20)
            except BlockingIOError:  # The server reads no more requests.
                pass
            except ConnectionError:
                return True
            return False

        assert not is_disconnected()
        [other] = connect(tight, 1, b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with other:
            assert other.recv(65536).startswith(b"HTTP/1.1 200 ")
        wait_for(is_disconnected, 60)


def test_the_bytes_of_all_requests_in_memory_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_BUFFERED", 1000)
    bodies = Bodies(Settings("unused"))

    def request(size: int) -> Request:
        parts = [{"type": "http.request", "body": os.urandom(size), "more_body": False}]

        async def receive() -> Message:
            return parts.pop()

        return Request({"type": "http", "method": "POST", "headers": []}, receive)

    async def read() -> None:
        first, _, _ = await bodies.files(request(600))
        with pytest.raises(Refused) as refused:
            await bodies.files(request(401))
        assert (refused.value.status, refused.value.retry_after) == (429, 5)
        second, _, _ = await bodies.files(request(400))
        assert bodies.buffered == 1000
        first.release()
        await bodies.files(request(600))
        second.release()
        assert bodies.buffered == 600

    asyncio.run(read())
