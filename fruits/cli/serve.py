"""The command ``fruits serve``."""

import os
import signal
from typing import Any

from fruits.cli.parser import Parser, add_option
from fruits.options import options
from fruits.serve.settings import Settings


def serve(**values: Any) -> None:
    """``fruits serve``: serves the page and the API."""
    settings = Settings(**values)
    from fruits.serve.server import serve

    # SIGTERM acts like Ctrl-C while the first model is loaded, so no copy of it remains.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve(settings)


def add_serve(commands: Any, parser: Parser) -> None:
    """Adds the command ``serve``; environment variables may set options, see :func:`variable`."""
    serving = parser.add_command(
        commands, "serve", serve, "serve the model of a finished run: a page and an API"
    )
    for option in options(Settings):
        default: Any = os.environ.get(variable(option.name), option.default)
        if option.parse is bool:
            default = default in (True, "1", "true")
        add_option(serving, option, default)
    serving.epilog = "Environment variables set the options as well: FRUITS_SERVE_MODEL, ..."


def variable(name: str) -> str:
    """The environment variable of an option."""
    return f"FRUITS_SERVE_{name.upper()}"
