"""Functions for the other modules: errors in one line, private files, and Spark's pages."""

import http.client
import os
import sys
from pathlib import Path
from typing import NoReturn


def fail(role: str, message: str) -> NoReturn:
    """Ends with status 2 and one line, for problems that the user must solve."""
    print(f"{role}: {message}", file=sys.stderr, flush=True)
    sys.exit(2)


def private(folder: Path) -> Path:
    """Makes a folder that only this user can access."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def write(path: Path, text: str) -> None:
    """Writes a file that only this user can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def fetch(host: str, port: int, path: str) -> tuple[int, bytes]:
    """The status and the body of a page."""
    connection = http.client.HTTPConnection(host, port, timeout=4)
    try:
        connection.request("GET", path, headers={"Host": f"localhost:{port}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
