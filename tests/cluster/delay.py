"""A proxy between S3 clients and a store, which simulates failures of networks and stores.

    delay.py PORT HOST PORT [--late SECONDS] [--faults SHARE] [--seed N]
             [--folder FOLDER] [--hold PATTERN]

Each request is forwarded after a delay. A share of the requests fails with one of FAULTS, and these
are recorded in FOLDER/faults. While FOLDER/away exists, no connection is accepted. At the first
request that PATTERN matches, FOLDER/held is written, and then nothing more is forwarded.
"""

import argparse
import asyncio
import random
import re
from pathlib import Path

REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")
STATUSES = {"500": ("InternalError", "We failed."), "503": ("SlowDown", "Ask less often.")}
# The connection breaks before the store gets the request ("refused"), after the store has executed
# it ("lost"), or in the middle of the response ("torn").
FAULTS = (*STATUSES, "slow", "refused", "lost", "torn")

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("host")
parser.add_argument("target", type=int)
parser.add_argument("--late", type=float, default=0.020)
parser.add_argument("--faults", type=float, default=0.0)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--folder", type=Path, default=Path())
parser.add_argument("--hold", type=lambda text: re.compile(text.encode()))
options = parser.parse_args()

chance = random.Random(options.seed)
connections: set[asyncio.WriteTransport] = set()
passing_on = asyncio.Event()


def fault_of(data: bytes) -> str:
    """The fault for a request, if any; also recognises the request of --hold."""
    if options.hold and options.hold.search(data.partition(b"\r\n")[0]):
        passing_on.clear()
        (options.folder / "held").touch()
    fault = chance.choice(FAULTS) if chance.random() < options.faults else ""
    if fault:
        with (options.folder / "faults").open("a") as log:
            print(fault, data.partition(b"\r\n")[0].decode(), file=log)
    return fault


def answer(status: str, request: bytes) -> bytes:
    code, message = STATUSES[status]
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    head = f"HTTP/1.1 {status} {code}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + ("" if request.startswith(b"HEAD") else body)).encode()


async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of a client, and its connection to the store."""
    there, back = await asyncio.open_connection(options.host, options.target)
    connections.update((writer.transport, back.transport))
    fault = ""

    async def requests() -> None:
        nonlocal fault
        while data := await reader.read(1 << 20):
            if REQUEST.match(data):
                await asyncio.sleep(options.late)
                fault = fault_of(data)
                if fault == "slow":
                    await asyncio.sleep(2)
                if fault == "refused":
                    return
                if fault in STATUSES:
                    writer.write(answer(fault, data))
                    await writer.drain()
                    await asyncio.sleep(0.1)
                    return
            await passing_on.wait()
            back.write(data)
            await back.drain()

    async def answers() -> None:
        while data := await there.read(1 << 20):
            await passing_on.wait()
            if fault in ("lost", "torn"):
                writer.write(data[: len(data) // 2] if fault == "torn" else b"")
                await writer.drain()
                return
            writer.write(data)
            await writer.drain()

    tasks = [asyncio.ensure_future(one()) for one in (requests, answers)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for transport in (writer.transport, back.transport):
        connections.discard(transport)
        transport.abort() if fault else transport.close()


async def main() -> None:
    passing_on.set()
    server = await asyncio.start_server(connection, "0.0.0.0", options.port)
    while True:
        await asyncio.sleep(0.1)
        away = (options.folder / "away").exists()
        if away and server.is_serving():
            server.close()
            for transport in tuple(connections):
                transport.abort()
        elif not away and not server.is_serving():
            server = await asyncio.start_server(connection, "0.0.0.0", options.port)


asyncio.run(main())
