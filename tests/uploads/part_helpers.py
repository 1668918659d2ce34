"""Parts of one source on their way to a raw server, with all that a test may want to look at."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from attrs import define, field

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.models import UploadPart
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.body import Buffers, PartBody, PartSource
from asyncsdk.uploads.chunking import BLOCK, Range
from asyncsdk.uploads.pacing.throttle import Throttle
from asyncsdk.uploads.sources.readers import BytesSource, Source
from tests.raw_server import PART, RawServer, client_of, reply

LARGE = os.urandom(5 * BLOCK + 17)
WHOLE = Range(0, len(LARGE))
NARROW = 1 << 16
TAKEN = reply(200, PART)


class Noted(PartBody):
    """Notes how it was cut into slices."""

    def __init__(self, part_source: PartSource, span: Range) -> None:
        super().__init__(part_source, span)
        self.written: list[int] = []

    async def put(self, writer: AbstractStreamWriter, chunk: bytes | memoryview) -> None:
        await super().put(writer, chunk)
        self.written.append(len(chunk))

    @property
    def slices(self) -> list[int]:
        """Of its content, without the form around it."""
        return self.written[1:-1]


@define(eq=False)
class Line:
    """Sends parts over one client; keeps the bodies that were made and hears how many bytes moved."""

    client: Client
    source: Source
    throttle: Throttle
    stall: float
    make: Callable[[PartSource, Range], Noted]
    moved: list[int] = field(factory=list)
    bodies: list[Noted] = field(factory=list)
    part_source: PartSource = field(init=False)

    def __attrs_post_init__(self) -> None:
        threads = DaemonThreadPool("test-read", 4)
        self.part_source = PartSource(
            self.source, threads, Buffers(), self.throttle, self.stall, self.moved.append, nullcontext
        )

    async def send(self, span: Range = WHOLE, **options: Any) -> UploadPart:
        return await self.client.send(api.add_upload_part("upload_1", data=lambda: self._body(span)), **options)

    def _body(self, span: Range) -> Noted:
        self.bodies.append(self.make(self.part_source, span))
        return self.bodies[-1]

    @property
    def pooled(self) -> list[bytearray]:
        return self.part_source.buffers._free  # noqa: SLF001 - what the pool keeps shows nowhere else


class Narrow(socket.socket):
    """Takes little at a time: what was written and not read by the peer is seen to wait."""

    def __init__(self, *address: Any) -> None:
        super().__init__(*address)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NARROW)


@asynccontextmanager
async def line_to(
    server: RawServer,
    source: Source | None = None,
    *,
    throttle: Throttle | None = None,
    stall: float = 30.0,
    make: Callable[[PartSource, Range], Noted] = Noted,
    sockets: Callable[..., socket.socket] = Narrow,
    trust: ssl.SSLContext | None = None,
) -> AsyncIterator[Line]:
    connector = aiohttp.TCPConnector(ssl=trust or True, socket_factory=lambda address: sockets(*address[:3]))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        client_of(server, max_retries=0, session=session) as client,
    ):
        yield Line(client, source or BytesSource.over(bytearray(LARGE)), throttle or Throttle(), stall, make)
