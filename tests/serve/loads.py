"""Clients that send requests while the model changes."""

import threading

import httpx
from models import Server


def version(server: Server) -> str:
    found: str = server.client.get("/model").json()["version"]
    return found


class Load:
    """Clients that send requests without pauses."""

    def __init__(self, server: Server, photographs: list[bytes]) -> None:
        self.statuses: list[int] = []
        self.versions: set[str] = set()
        self._server, self._photographs = server, photographs
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(4)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self._server.url, timeout=60, trust_env=False) as client:
            while not self._stop.is_set():
                answer = client.post("/predict", content=self._photographs[number])
                self.statuses.append(answer.status_code)
                self.versions.add(answer.json()["predictions"][0]["version"])
