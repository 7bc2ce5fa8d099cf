"""A stretch of network: carries bytes to a server and back, each of them so much later.

``python -m benchmarks.server_parts.delay HOST PORT SECONDS`` prints a line of JSON with its port,
and ends when its stdin does. Connections are opened without delay.
"""

from __future__ import annotations

import asyncio
import json
import sys

_PIECE = 2**16


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Write what is read, each piece so many seconds after it came, and the end too."""
    loop = asyncio.get_running_loop()
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def arrive() -> None:
        while True:
            due, data = await on_the_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                writer.close()
                return
            writer.write(data)

    arriving = loop.create_task(arrive())
    data = b"-"
    while data:
        try:
            data = await reader.read(_PIECE)
        except ConnectionError:
            data = b""
        on_the_way.put_nowait((loop.time() + seconds, data))
    await arriving


async def serve(host: str, port: int, seconds: float) -> None:
    """Carry until stdin ends."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        there = carry(reader, far_writer, seconds)
        back = carry(far_reader, writer, seconds)
        await asyncio.gather(there, back)

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


def main() -> None:
    """Carry."""
    host, port, seconds = sys.argv[1:]
    asyncio.run(serve(host, int(port), float(seconds)))


if __name__ == "__main__":
    main()
