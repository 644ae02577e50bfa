"""Headless Chromium, controlled by the DevTools protocol."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket
from containers import wait_for
from ports import free_port


class Page:
    """The one page of a browser."""

    def __init__(self, address: str) -> None:
        self.socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self.numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        wait_for(lambda: self.ask("document.readyState") == "complete", 120)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def click(self, element: str, seconds: float = 60) -> None:
        """Moves the mouse to the middle of an element, which an expression selects, and clicks."""
        where = wait_for(
            lambda: self.ask(
                f"(() => {{ const e = {element}; if (!e) return null;"
                "const b = e.getBoundingClientRect();"
                "return b.width ? [b.x + b.width / 2, b.y + b.height / 2] : null; })()"
            ),
            seconds,
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=where[0],
                y=where[1],
                button="left",
                clickCount=1,
            )
            time.sleep(0.1)

    def picture(self, path: Path) -> bytes:
        """A screenshot of the window, as PNG."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(data)
        return data


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser with a new profile."""
    port = free_port()
    command = shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"
    browser = subprocess.Popen(
        [
            *(
                command,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ),
            *(f"--remote-debugging-port={port}", f"--user-data-dir={folder / 'profile'}"),
            *("--window-size=1300,1000", "about:blank"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def page() -> str | None:
        pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        return next((p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page"), None)

    try:
        yield Page(wait_for(page, 60))
    finally:
        browser.terminate()
        browser.wait(20)
