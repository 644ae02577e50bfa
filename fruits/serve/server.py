"""Runs the application: one process for HTTP, and others that predict."""

import asyncio
import errno
import importlib
import logging
import logging.config
import socket
from typing import Any

from fruits.errors import ConfigError, OutputError
from fruits.predictor.files import find_predictor
from fruits.serve import snapshot
from fruits.serve.child import ChildDied
from fruits.serve.engine import Engine
from fruits.serve.settings import Settings
from fruits.storage.location import Location

log = logging.getLogger(__name__)

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "fruits.serve": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
        # It would log parts of uploads.
        "python_multipart": {"handlers": [], "level": "CRITICAL", "propagate": False},
    },
}


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Args:
        settings: the settings.

    Raises:
        FruitsError: an error that the user can fix: the address, the token, the model.
    """
    token = settings.token()
    logging.config.dictConfig(LOGGING)
    with listen(settings) as listener:
        asyncio.run(_serve(settings, token, listener))


def listen(settings: Settings) -> socket.socket:
    """Opens a socket at the address.

    Raises:
        ConfigError: the address cannot be used.
    """
    address = (settings.host, settings.port)
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server(address, family=family, backlog=1024)
    except UnicodeError:  # Two dots in a row, or a very long part.
        raise ConfigError(
            f"host: wanted an address to listen on; got {settings.host}: choose another --host"
        ) from None
    except OSError as error:
        name = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
        raise ConfigError(
            f"{name}: wanted an address to listen on; got {settings.host}:{settings.port}: "
            f"{error.strerror}: choose another --{name}"
        ) from None
    # Connections inherit this option. Without it, the body of each response but the first would
    # wait 40 ms for the client to acknowledge the headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _serve(settings: Settings, token: str | None, listener: socket.socket) -> None:
    given = Location.of(settings.model)
    place = await asyncio.to_thread(find_predictor, given, "model")
    model = await snapshot.take(place)
    engine = Engine(settings.workers, settings.queue, settings.image_seconds)
    try:
        # In parallel, because the import takes as long as the start of the processes.
        importing = asyncio.to_thread(importlib.import_module, "fruits.serve.web")
        _, web = await asyncio.gather(engine.start(model), importing)
        _say_ready(settings, token, listener, engine)
        await web.run(settings, token, listener, engine, place)
    except ChildDied as death:
        raise OutputError(f"model: {place} cannot be used: {death}") from None
    finally:
        await engine.stop()
        (engine.model or model).delete()


def _say_ready(
    settings: Settings, token: str | None, listener: socket.socket, engine: Engine
) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    version = engine.model.version if engine.model else ""
    access = "with a token" if token else "without a token"
    log.info("model %s of %s", version, settings.model)
    log.info(
        "serving at http://%s:%d, %s; plain HTTP: for HTTPS, put a proxy in front",
        shown,
        port,
        access,
    )
