"""A line between client and server that trickles what answers a route, and can be counted from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from attrs import define, field

from tests.ports import HeldPort

BLOCK = 1 << 16
ENDS = {"create": b"/uploads ", "part": b"/parts ", "complete": b"/complete ", "cancel": b"/cancel "}


@define(eq=False)
class Line:
    """Leads from `entry` to `port`. While `slow` names a route, `left` answers to it come byte by byte."""

    port: int
    slow: str | None = None
    left: int = 0
    _port: HeldPort = field(factory=HeldPort, init=False)  # its own also while nobody listens
    met: int = field(default=0, init=False)
    _listening: asyncio.Server | None = field(default=None, init=False)
    tasks: set[asyncio.Task[None]] = field(factory=set, init=False)

    @property
    def entry(self) -> int:
        return self._port.number

    def trickle(self, route: str, *, times: int) -> None:
        self.slow, self.left = route, times

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        beyond, ways = None, set[asyncio.Task[None]]()
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                there, beyond = await asyncio.open_connection("127.0.0.1", self.port)
                trickling = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    ways |= {
                        group.create_task(self._up(reader, beyond, trickling)),
                        group.create_task(self._down(there, writer, trickling)),
                    }
                    self.tasks |= ways
        except* ConnectionError:
            pass
        finally:
            writer.transport.abort()
            if beyond is not None:
                beyond.transport.abort()
            self.tasks -= {task, *ways}

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trickling: asyncio.Event) -> None:
        while data := await reader.read(BLOCK):
            if data.startswith(b"POST "):
                trickling.clear()
                if self.slow is not None and self.left and ENDS[self.slow] in data.split(b"\r\n")[0]:
                    self.left, self.met = self.left - 1, self.met + 1
                    trickling.set()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trickling: asyncio.Event) -> None:
        while data := await reader.read(BLOCK):
            for piece in (data[n : n + 1] for n in range(len(data))) if trickling.is_set() else (data,):
                writer.write(piece)
                await writer.drain()
                if trickling.is_set():
                    await asyncio.sleep(0)
        raise ConnectionResetError

    async def open(self) -> None:
        """Listen, where it listened before."""
        self._listening = await asyncio.start_server(self.carry, "127.0.0.1", self.entry, reuse_address=True)

    def close(self) -> None:
        """Refuse who comes now, and end what goes through it."""
        if self._listening is not None:
            self._listening.close()
        self.cut()

    def cut(self) -> None:
        """End what goes through it."""
        for task in self.tasks:
            task.cancel()

    async def aclose(self) -> None:
        """Close, and wait until all has ended."""
        self.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self._port.close()


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """A line to `port` of this machine."""
    line = Line(port)
    await line.open()
    try:
        yield line
    finally:
        await line.aclose()
