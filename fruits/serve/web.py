"""The web server of the application, in a separate module because its import takes a second."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import uvicorn

from fruits.serve.connections import IDLE_SECONDS, PatientProtocol
from fruits.serve.engine import Engine
from fruits.serve.metrics import Metrics
from fruits.serve.reload import Reload
from fruits.serve.routes import make_app
from fruits.serve.settings import Settings
from fruits.storage.location import Location

# The time for running requests after SIGTERM, in seconds.
DRAIN_SECONDS = 30


class Server(uvicorn.Server):
    """uvicorn's server, but its process ends with status 0 after a signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C stop the server after the running requests."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def run(
    settings: Settings, token: str | None, listener: socket.socket, engine: Engine, place: Location
) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Args:
        settings: the settings of the server.
        token: the token that requests must have; None if they need none.
        listener: the socket of the server.
        engine: the engine that predicts, already started.
        place: the location of the model.
    """
    metrics = Metrics()
    config = uvicorn.Config(
        make_app(settings, engine, metrics, token),
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=32 << 10,
    )
    reload = asyncio.create_task(Reload(engine, place, metrics).run(settings.reload_seconds))
    try:
        await Server(config).serve([listener])
    finally:
        reload.cancel()
        await asyncio.gather(reload, return_exceptions=True)
