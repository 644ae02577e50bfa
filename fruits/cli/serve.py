"""The command ``fruits serve``."""

import os
from dataclasses import MISSING, fields
from typing import Any

from fruits.cli.parser import Parser
from fruits.serve.settings import TOKEN_VARIABLE, Settings

# What each option says; Settings has the defaults. An option without a metavar is a switch.
OPTIONS = {
    "model": ("URI", "output of a finished run, or its folder predictor/"),
    "host": ("ADDRESS", "address to listen on"),
    "port": ("PORT", "TCP port; 0 takes a free one"),
    "name": ("NAME", "of the model, in the addresses of the API"),
    "workers": ("N", "processes that predict"),
    "token_file": ("FILE", f"file with the bearer token that requests carry; or {TOKEN_VARIABLE}"),
    "public": (None, "everyone who reaches the address may use it, without a token"),
    "max_file": ("BYTES", "of one photograph"),
    "max_body": ("BYTES", "of one request"),
    "max_files": ("N", "photographs of one request"),
    "queue": ("N", "photographs that may wait"),
    "image_seconds": ("SECONDS", "time of one core for one photograph"),
    "upload_seconds": ("SECONDS", "time for one request to arrive"),
    "reload_seconds": ("SECONDS", "between two looks for a new model; 0 for none"),
    "credit": ("TEXT", "line on the page about the licence of the training photographs"),
    "keep_uploads": ("URI", "folder where photographs are kept whose sender agrees"),
}


def serve(**options: Any) -> None:
    """``fruits serve``: the page and the API."""
    settings = Settings(**options)
    from fruits.serve.server import serve

    serve(settings)


def add_serve(commands: Any, parser: Parser) -> None:
    """Adds the command; each option may come from the environment, see :func:`variable`."""
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
    serving.epilog = "Each option may come from the environment: FRUITS_SERVE_MODEL, ..."


def variable(name: str) -> str:
    """The environment variable of an option."""
    return f"FRUITS_SERVE_{name.upper()}"


def _type_of(name: str) -> Any:
    kind = Settings.__annotations__[name]
    return kind if kind in (int, float) else str
