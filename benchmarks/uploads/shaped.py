"""A slow line: a proxy that limits the rate of each connection or of all, and is late by half a round trip each way.

It stands for `tc netem`, which not every kernel has. A new connection waits one round trip, as its handshake would.
Slow start and loss are not played: what it shows is how well a sender keeps its flows busy.

    python -m benchmarks.uploads.shaped PORT RTT_MS BYTES_PER_SECOND each|all     (prints its own port)
"""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import PIPE, Popen

from attrs import define

PIECE = 32 << 10
WINDOW = 256 << 10  # what kernels hold beyond what is on the line
LATENESS = 0.01  # seconds by which the proxy itself may be late without the line losing them


@contextmanager
def shaped(port: int, *, rtt: float, rate: float, shared: bool = False) -> Iterator[int]:
    """The port of a slow line to `port`, in a process of its own; `rtt` in seconds, `rate` in bytes a second."""
    of = "all" if shared else "each"
    command = [sys.executable, "-m", "benchmarks.uploads.shaped", str(port), str(rtt * 1000), str(rate), of]
    with Popen(command, stdout=PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield int(proxy.stdout.readline())
        finally:
            proxy.terminate()


@define
class Pace:
    """When the next bytes have passed the line, at `rate` bytes a second."""

    rate: float
    free_at: float = 0.0

    def passed(self, now: float, count: int) -> float:
        self.free_at = max(self.free_at, now - LATENESS) + count / self.rate
        return self.free_at


async def main(port: int, rtt: float, rate: float, *, shared: bool) -> None:
    up, down = Pace(rate), Pace(rate)

    async def carry(reader: StreamReader, writer: StreamWriter) -> None:
        await asyncio.sleep(rtt)
        there, back = await asyncio.open_connection("127.0.0.1", port, limit=PIECE)
        with suppress(ConnectionError):
            async with asyncio.TaskGroup() as group:
                group.create_task(flow(reader, back, rtt / 2, up if shared else Pace(rate)))
                group.create_task(flow(there, writer, rtt / 2, down if shared else Pace(rate)))

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    server = await asyncio.start_server(carry, sock=listener, limit=PIECE)
    print(listener.getsockname()[1], flush=True)
    await server.serve_forever()


async def flow(reader: StreamReader, writer: StreamWriter, late: float, pace: Pace) -> None:
    """One direction, paced as it comes in, passed on `late` seconds later."""
    loop = asyncio.get_running_loop()
    while piece := await reader.read(PIECE):
        passed = pace.passed(now := loop.time(), len(piece))
        loop.call_at(max(passed, now) + late, writer.write, piece)
        await asyncio.sleep(passed - loop.time())
    await asyncio.sleep(late + 0.01)
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 1000, float(sys.argv[3]), shared=sys.argv[4] == "all"))
