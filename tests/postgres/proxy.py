"""A TCP proxy before a database, which cuts the connection at a chosen statement or lets nothing through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from attrs import define, field

from asyncsdk.postgres.statements import statement
from asyncsdk.server.listener import close_server

SYNC = b"S\0\0\0\4"
When = Literal["before", "after"]


@define(eq=False)
class Proxy:
    """`cut("upload_append", "after")`: that statement is carried out, once, and its answer lost; "before": it is."""

    target: int
    port: int = 0
    is_away: bool = False
    delay: float = 0.0  # seconds, in each direction
    made: int = 0  # connections
    statements: list[bytes] = field(factory=list)
    _needle: bytes = b""
    _when: When = "before"
    _left: int = 0
    _seen: int = 0
    _open: set[asyncio.StreamWriter] = field(factory=set)
    _mute: set[asyncio.StreamWriter] = field(factory=set)

    def through(self, url: str) -> str:
        """The URL of the same database, through this proxy."""
        return url.replace(f":{self.target}/", f":{self.port}/")

    def cut(self, name: str, when: When, times: int = 1) -> None:
        text = name if name == "COMMIT;" else statement(name)
        self._needle, self._when, self._left = text.encode(), when, times

    @property
    def cuts_left(self) -> int:
        return self._left

    @property
    def seen(self) -> int:
        """How often the statement came that is to be cut."""
        return self._seen

    @property
    def connections(self) -> int:
        return len(self._open) // 2

    def go_away(self) -> None:
        """Cut all that is there, and let nothing in."""
        self.is_away = True
        self.cut_all()

    def cut_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def mute(self) -> None:
        """Pass nothing on any more through the connections that are there, without closing them."""
        self._mute |= self._open

    def _lets_in(self) -> bool:
        return not self.is_away

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._lets_in():
            writer.transport.abort()
            return
        back, there = await asyncio.open_connection("127.0.0.1", self.target)
        mine = {writer, there}
        if not self._lets_in():  # any more
            for each in mine:
                each.transport.abort()
            return
        self.made += 1
        self._open |= mine
        lost = asyncio.Event()
        try:
            await asyncio.wait(
                [
                    asyncio.ensure_future(self._up(reader, there, lost)),
                    asyncio.ensure_future(self._down(back, writer, lost)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._open -= mine
            for each in mine:
                each.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if data.endswith(SYNC) or data.startswith(b"Q"):  # it is parsed first, and then again and carried out
                    self.statements.append(data)
                    if self._needle and self._needle in data and self._is_next():
                        if self._when == "before":
                            return
                        lost.set()  # what answers this is not passed on
                await self._pass_on(data, there)

    def _is_next(self) -> bool:
        """Whether this one is cut: of several each second one, so that it gets through when it is tried again."""
        self._seen += 1
        if not self._left or self._seen % 2 == 0:
            return False
        self._left -= 1
        return True

    async def _down(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await back.read(1 << 16):
                if lost.is_set():
                    return
                await self._pass_on(data, writer)

    async def _pass_on(self, data: bytes, to: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.delay)
        if to not in self._mute:
            to.write(data)


@asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.go_away()
        await close_server(server)
        await server.wait_closed()
        await asyncio.sleep(0.05)
