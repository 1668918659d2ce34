"""A slow peer gets every byte as it was; a slow disk or a limited rate is nobody's stall."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest
import trustme
from aiohttp.abc import AbstractStreamWriter
from attrs import define, field

from asyncsdk.errors import APITimeoutError
from asyncsdk.uploads.chunking import Range
from asyncsdk.uploads.pacing.throttle import Throttle
from asyncsdk.uploads.sources.readers import BytesSource, Identity
from tests.raw_server import Talk, answering, serving
from tests.uploads.part_helpers import LARGE, NARROW, TAKEN, Noted, line_to
from tests.uploads.upload_helpers import Slow

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STALL = 0.2


class Stingy(socket.socket):
    """Takes all but the last byte of what it is given, so that one byte stays with the transport."""

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        view = memoryview(data)
        return super().send(view[: max(1, len(view) - 1)], flags)


@define(eq=False)
class Suspicious(BytesSource):
    """Looks, whenever a block is about to be read into the buffer, how much the transport still holds."""

    transport: asyncio.WriteTransport | None = None
    held_back: list[int] = field(factory=list)

    def read_now(self, offset: int, view: memoryview) -> bool:
        assert self.transport is not None
        self.held_back.append(self.transport.get_write_buffer_size())
        return super().read_now(offset, view)


class Watched(Noted):
    """Shows its source the transport."""

    async def write_content(self, writer: AbstractStreamWriter) -> None:
        assert isinstance(self._part_source.source, Suspicious)
        self._part_source.source.transport = writer.transport
        await super().write_content(writer)


async def hear_and_take(talk: Talk) -> None:
    await talk.hear()
    await talk.say(TAKEN)


async def hear_the_head_only(talk: Talk) -> None:
    await talk.hear_head()
    await asyncio.sleep(60)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_no_block_is_read_into_a_buffer_of_which_one_byte_is_still_to_go(*, tls: bool) -> None:
    identity = trust = None
    if tls:
        authority = trustme.CA()
        identity, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("localhost").configure_cert(identity)
        authority.configure_trust(trust)
    source = Suspicious(memoryview(LARGE), Identity(len(LARGE)))
    async with (
        serving(hear_and_take, ssl=identity, buffer=4096) as server,
        line_to(server, source, make=Watched, sockets=Stingy, trust=trust) as line,
        asyncio.timeout(5),  # TLS told to hold nothing at all would wait for ever
    ):
        await line.send()
    assert source.held_back == [0] * 6
    assert LARGE in server.requests[0].body


async def test_a_peer_that_reads_nothing_is_given_up() -> None:
    async with (
        serving(hear_the_head_only, buffer=NARROW) as server,
        line_to(server, stall=STALL) as line,
    ):
        with pytest.raises(APITimeoutError, match=r"no byte got through for 0\.2 s"):
            await line.send()


async def test_a_slow_disk_is_no_stall() -> None:
    source = Slow(LARGE, lambda: time.sleep(3 * STALL))
    async with answering(TAKEN) as server, line_to(server, source, stall=STALL) as line:
        await line.send(Range(0, 10))
    assert len(line.bodies) == len(server.requests) == 1


async def test_waiting_for_a_limited_rate_is_no_stall() -> None:
    throttle = Throttle(4096 / (3 * STALL))
    async with answering(TAKEN) as server, line_to(server, throttle=throttle, stall=STALL) as line:
        await line.send(Range(0, 4097))
        assert line.bodies[0].slices == [4096, 1]
    assert len(line.bodies) == len(server.requests) == 1
