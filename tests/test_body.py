"""A body on its way: what it raises itself, and that a buffer which is filled again harms nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
import trustme
from aiohttp.abc import AbstractStreamWriter

from asyncsdk import api
from asyncsdk.api import Request
from asyncsdk.http.body import Body, ChunksBody, flush_every_write
from asyncsdk.models import UploadPart
from tests.raw_server import PART, Talk, answering, client_of, reply, serving

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LARGE = 8 << 20  # more than the kernel takes in for a server that does not read


class Unreadable(Body):
    """A body whose source fails after the first megabyte."""

    def __init__(self, error: BaseException, size: int = LARGE) -> None:
        super().__init__(size, "application/octet-stream")
        self._error = error

    async def write_content(self, writer: AbstractStreamWriter) -> None:
        await self.put(writer, bytes(1 << 20))
        raise self._error


def sending(body: Callable[[], Body]) -> Request[UploadPart]:
    return api.add_upload_part("upload_1", data=body)


@pytest.mark.parametrize("early", [False, True])
async def test_what_a_body_raises_comes_out_bare_and_is_not_tried_again(*, early: bool) -> None:
    async def handle(talk: Talk) -> None:
        await talk.hear_head()
        if early:
            await asyncio.sleep(0.05)
            await talk.say(reply(500))
        await talk.gone()

    failure = OSError(5, "the disk is gone")
    async with serving(handle) as server, client_of(server) as client:
        with pytest.raises(OSError, match="the disk is gone") as caught:
            await client.send(sending(lambda: Unreadable(failure)))
    assert caught.value is failure
    assert server.connections == 1


async def test_a_body_that_failed_although_the_server_is_content_is_a_failure() -> None:
    class Late(Unreadable):
        async def write_content(self, writer: AbstractStreamWriter) -> None:
            await self.put(writer, bytes(10))
            await asyncio.sleep(0.1)
            failed.set()
            raise self._error

    failed = asyncio.Event()
    body = Late(ZeroDivisionError("late"), size=10)

    async def handle(talk: Talk) -> None:
        await talk.hear()
        await failed.wait()
        await talk.say(reply(200, PART))

    async with serving(handle) as server, client_of(server) as client:
        with pytest.raises(ZeroDivisionError, match="late"):
            await client.send(sending(lambda: body))
    assert server.connections == 1


@pytest.mark.parametrize("status", [200, 413])
async def test_what_failed_in_a_body_goes_before_what_the_server_says_of_it(status: int) -> None:
    class Torn(Body):
        async def write_content(self, writer: AbstractStreamWriter) -> None:
            await self.put(writer, bytes(10))
            self._failure = ZeroDivisionError("seen too late")

    async with answering(reply(status, PART)) as server, client_of(server) as client:
        with pytest.raises(ZeroDivisionError, match="seen too late"):
            await client.send(sending(lambda: Torn(10, "text/plain")))
    assert len(server.requests) == 1


class Refilling(Body):
    """Sends block after block out of one buffer, as uploads do: each block is all of one byte."""

    def __init__(self, blocks: int, block: int) -> None:
        super().__init__(blocks * block, "application/octet-stream", stall=5.0)
        self._blocks, self._buffer = blocks, bytearray(block)

    async def write_content(self, writer: AbstractStreamWriter) -> None:
        assert writer.transport is not None
        flush_every_write(writer.transport)
        for number in range(self._blocks):
            self._buffer[:] = bytes([number % 256]) * len(self._buffer)
            await self.put(writer, memoryview(self._buffer))
        self._buffer[:] = b"\xff" * len(self._buffer)


BLOCKS, BLOCK = 200, 16_384


async def send_refilled(identity: ssl.SSLContext | None, trust: ssl.SSLContext | None) -> None:
    async def slow(talk: Talk) -> None:
        head = await talk.hear_head()
        body, size = bytearray(), int(head.headers["content-length"])
        while len(body) < size:
            body += await talk.reader.read(min(BLOCK - 1, size - len(body)))
            await asyncio.sleep(0)
        received.append(bytes(body))
        await talk.say(reply(200, PART))

    received: list[bytes] = []
    async with serving(slow, ssl=identity, buffer=4096) as server, client_of(server, ssl=trust) as client:
        async with asyncio.timeout(20):
            await client.send(sending(lambda: Refilling(BLOCKS, BLOCK)))
    assert received == [b"".join(bytes([number % 256]) * BLOCK for number in range(BLOCKS))]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_buffer_may_be_filled_again_once_it_was_put(loop: str, *, tls: bool) -> None:
    identity = trust = None
    if tls:
        authority = trustme.CA()
        identity, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("localhost").configure_cert(identity)
        authority.configure_trust(trust)
    factory = asyncio.new_event_loop if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(send_refilled(identity, trust))


class Stingy(socket.socket):
    """Takes all but the last byte of what it is given, so that one byte stays with the transport."""

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        return super().send(memoryview(data)[:-1] if len(memoryview(data)) > 1 else data, flags)


async def test_not_even_one_byte_is_held_back_when_a_write_is_over() -> None:
    async def hear_all(talk: Talk) -> None:
        await talk.gone()

    async with serving(hear_all) as server:
        with Stingy() as stingy:
            stingy.connect(("127.0.0.1", server.port))
            stingy.settimeout(0)
            _, writer = await asyncio.open_connection(sock=stingy)
            flush_every_write(writer.transport)
            held_back = []
            for _ in range(10):
                writer.write(bytes(1000))
                await writer.drain()
                held_back.append(writer.transport.get_write_buffer_size())
            writer.transport.abort()
            await asyncio.sleep(0)
    assert held_back == [0] * 10


class TakesAllAtOnce:
    """A connection whose peer never makes anybody wait."""

    transport = None

    async def write(self, _: bytes) -> None:
        """It has it."""

    async def drain(self) -> None:
        """It has had it."""


async def test_a_large_body_in_small_pieces_leaves_the_loop_to_others() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.ensure_future(other())
    await ChunksBody([bytes(4096)] * 100, "text/plain").write_content(cast("Any", TakesAllAtOnce()))
    waiting.cancel()
    assert turns >= 100


def test_a_body_is_written_not_read() -> None:
    with pytest.raises(TypeError, match="written, not read"):
        ChunksBody([b"x"], "text/plain").decode()


async def test_a_body_without_a_connection_is_not_watched() -> None:
    class Nowhere:
        transport = None
        written = b""

        async def write(self, chunk: bytes) -> None:
            self.written += chunk

        async def drain(self) -> None:
            pass

    nowhere, body = Nowhere(), ChunksBody([b"<", b"content", b">"], "text/plain")
    await body.write(cast("AbstractStreamWriter", nowhere))
    body.abort()
    assert nowhere.written == b"<content>"
    assert body.fully_sent
    assert body.size == len(nowhere.written)


async def test_a_peer_that_takes_all_at_once_leaves_the_loop_to_others() -> None:
    class Greedy:
        transport = None

        async def write(self, chunk: ReadableBuffer) -> None:
            written.append(len(memoryview(chunk)))

        async def drain(self) -> None:
            pass

    written: list[int] = []
    seen: list[int] = []

    async def others() -> None:
        while True:
            await asyncio.sleep(0)
            seen.append(len(written))

    beside = asyncio.create_task(others())
    await ChunksBody([bytes(LARGE)], "text/plain").write(cast("AbstractStreamWriter", Greedy()))
    beside.cancel()
    assert sum(written) == LARGE
    assert len(written) > 8
    assert len(seen) >= len(written) - 2
