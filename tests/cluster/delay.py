"""Passes TCP connections on, each request 20 ms late: ``delay.py PORT HOST PORT``."""

import asyncio
import sys

SECONDS = 0.020
port, host, target = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float) -> None:
    try:
        while data := await reader.read(1 << 20):
            await asyncio.sleep(late)
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there, back = await asyncio.open_connection(host, target)
    await asyncio.gather(pump(reader, back, SECONDS), pump(there, writer, 0))


async def main() -> None:
    server = await asyncio.start_server(connection, "0.0.0.0", port)
    await server.serve_forever()


asyncio.run(main())
