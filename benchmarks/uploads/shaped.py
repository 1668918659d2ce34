"""A slow line: a proxy that lets each connection through at a rate, and everything late by half a round trip.

It stands for `tc netem`, which not every kernel has. A new connection waits one round trip, as its handshake would.
Slow start and loss are not played: what it shows is how well a sender keeps its flows busy.

    python -m benchmarks.uploads.shaped PORT_OF_THE_SERVER RTT_MS BYTES_PER_SECOND     (prints its own port)
"""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import PIPE, Popen

PIECE = 32 << 10
WINDOW = 256 << 10  # what kernels hold beyond what is on the line
LATENESS = 0.01  # seconds by which the proxy itself may be late without the line losing them


@contextmanager
def shaped(port: int, *, rtt: float, rate: float) -> Iterator[int]:
    """The port of a slow line to `port`, in a process of its own; `rtt` in seconds, `rate` in bytes a second."""
    command = [sys.executable, "-m", "benchmarks.uploads.shaped", str(port), str(rtt * 1000), str(rate)]
    with Popen(command, stdout=PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield int(proxy.stdout.readline())
        finally:
            proxy.terminate()


async def main(port: int, rtt: float, rate: float) -> None:
    async def carry(reader: StreamReader, writer: StreamWriter) -> None:
        await asyncio.sleep(rtt)
        there, back = await asyncio.open_connection("127.0.0.1", port, limit=PIECE)
        with suppress(ConnectionError):
            async with asyncio.TaskGroup() as group:
                group.create_task(flow(reader, back, rtt / 2, rate))
                group.create_task(flow(there, writer, rtt / 2, rate))

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    server = await asyncio.start_server(carry, sock=listener, limit=PIECE)
    print(listener.getsockname()[1], flush=True)
    await server.serve_forever()


async def flow(reader: StreamReader, writer: StreamWriter, late: float, rate: float) -> None:
    """One direction, paced as it comes in, passed on `late` seconds later."""
    loop = asyncio.get_running_loop()
    free_at = loop.time()
    while piece := await reader.read(PIECE):
        free_at = max(free_at, loop.time() - LATENESS) + len(piece) / rate
        loop.call_at(free_at + late, writer.write, piece)
        await asyncio.sleep(free_at - loop.time())
    await asyncio.sleep(late + 0.01)
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 1000, float(sys.argv[3])))
