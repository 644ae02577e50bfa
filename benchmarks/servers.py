"""The servers for benchmarks.serve: how to start them, and how to send a request."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.environments import python_of
from benchmarks.inputs import DATA, ROOT

FOLDER = DATA / "serve"
PORT = 8765


@dataclass(frozen=True)
class Contender:
    """One server.

    Attributes:
        title: its title in the table.
        command: returns the command that starts it on :data:`PORT`.
        ask: sends one photograph, waits for the response, and raises an error if there is none.
        variables: additional environment variables.
    """

    title: str
    command: Callable[[argparse.Namespace], list[str]]
    ask: Callable[[HTTPConnection, bytes], None]
    variables: dict[str, str] = field(default_factory=dict)

    def start(self, command: list[str], log: Path) -> "subprocess.Popen[bytes]":
        """Starts it with its command; the output is written to a file."""
        variables = {"PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        with log.open("w") as out:
            return subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=os.environ | variables | self.variables,
            )


def _fruits(options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "fruits.cli", "serve", "--model", options.model]
    return [*command, "--port", str(PORT), "--workers", str(options.workers)]


def _gradio(options: argparse.Namespace) -> list[str]:
    archive = FOLDER / "model.keras"
    write = [sys.executable, "-m", "benchmarks.contenders.keras_archive", options.model]
    subprocess.run([*write, str(archive)], check=True, capture_output=True, cwd=ROOT)
    python = python_of("gradio")
    return [python, "-m", "benchmarks.contenders.gradio_app", str(archive), str(PORT)]


def _flask(options: argparse.Namespace) -> list[str]:
    python = python_of("flask")
    return [python, "-m", "benchmarks.contenders.flask_app", options.model, str(PORT)]


def _ask_plainly(connection: HTTPConnection, content: bytes) -> None:
    connection.request("POST", "/predict", content)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise OSError(f"status {answer.status}")


BOUNDARY = "photograph"


def _ask_gradio(connection: HTTPConnection, content: bytes) -> None:
    """Sends it like Gradio's own page and client: upload, call, wait for the end of the event."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n'
    head += "Content-Type: image/jpeg\r\n\r\n"
    form = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    [path] = json.loads(_answer(connection, "POST", "upload", form, kind))
    call = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    kind = {"Content-Type": "application/json"}
    body = _answer(connection, "POST", "call/predict", json.dumps(call).encode(), kind)
    events = _answer(connection, "GET", f"call/predict/{json.loads(body)['event_id']}")
    if b"event: complete" not in events:
        raise OSError(events[-200:].decode())


def _answer(
    connection: HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> bytes:
    connection.request(method, f"/gradio_api/{path}", body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise OSError(f"{path}: status {answer.status}")
    return content


CONTENDERS = {
    "fruits": Contender("fruits serve", _fruits, _ask_plainly),
    "gradio": Contender(
        "Gradio, Keras predict", _gradio, _ask_gradio, {"GRADIO_ANALYTICS_ENABLED": "False"}
    ),
    "flask": Contender(
        "Flask, saved pipeline", _flask, _ask_plainly, {"SPARK_CONF_DIR": str(ROOT / "conf")}
    ),
}
