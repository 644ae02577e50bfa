"""The command ``fruits serve``."""

import os
import signal
from dataclasses import MISSING, fields
from typing import Any

from fruits.cli.parser import Parser
from fruits.serve.settings import TOKEN_VARIABLE, Settings

# The metavar and help of each option; Settings has the defaults. Switches have no metavar.
OPTIONS = {
    "model": ("URI", "output of a finished run, or its folder predictor/"),
    "host": ("ADDRESS", "address to listen on"),
    "port": ("PORT", "TCP port; 0 chooses a free one"),
    "name": ("NAME", "name of the model in the URLs of the API"),
    "workers": ("N", "number of processes that predict"),
    "token_file": (
        "FILE",
        f"file with the bearer token that requests must have; or set {TOKEN_VARIABLE}",
    ),
    "public": (None, "require no token: anyone who can reach the address may use it"),
    "max_file": ("BYTES", "maximum size of a photograph"),
    "max_body": ("BYTES", "maximum size of a request"),
    "max_files": ("N", "maximum number of photographs in a request"),
    "queue": ("N", "maximum number of photographs that wait"),
    "image_seconds": ("SECONDS", "maximum CPU time for one photograph or one batch"),
    "upload_seconds": ("SECONDS", "maximum time to receive one request"),
    "reload_seconds": ("SECONDS", "time between two checks for a new model; 0: no checks"),
    "credit": ("TEXT", "credit line for the training photographs, shown on the page"),
    "keep_uploads": ("URI", "folder for uploaded photographs whose sender agrees"),
}


def serve(**options: Any) -> None:
    """``fruits serve``: serves the page and the API."""
    settings = Settings(**options)
    from fruits.serve.server import serve

    # SIGTERM acts like Ctrl-C while the first model is loaded, so no copy of it remains.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve(settings)


def add_serve(commands: Any, parser: Parser) -> None:
    """Adds the command ``serve``; environment variables may set options, see :func:`variable`."""
    serving = parser.add_command(
        commands, "serve", serve, "serve the model of a finished run: a page and an API"
    )
    for field in fields(Settings):
        metavar, text = OPTIONS[field.name]
        flag = "--" + field.name.replace("_", "-")
        value = os.environ.get(variable(field.name))
        if metavar is None:
            serving.add_argument(
                flag, action="store_true", default=value in ("1", "true"), help=text
            )
            continue
        default = field.default if value is None else value
        if field.default not in (MISSING, None):
            text += f" (default: {field.default})"
        serving.add_argument(
            *(flag,),
            metavar=metavar,
            type=_type_of(field.name),
            help=text,
            **({"required": True} if default is MISSING else {"default": default}),
        )
    serving.epilog = "Environment variables set the options as well: FRUITS_SERVE_MODEL, ..."


def variable(name: str) -> str:
    """The environment variable of an option."""
    return f"FRUITS_SERVE_{name.upper()}"


def _type_of(name: str) -> Any:
    kind = Settings.__annotations__[name]
    return kind if kind in (int, float) else str
