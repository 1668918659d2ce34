"""A request that gets nowhere is given up; a slow one that does is not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from aiohttp.abc import AbstractStreamWriter

from asyncsdk import APITimeoutError, RequestEvent, UploadPart, api
from asyncsdk.api import Request
from asyncsdk.http.body import Body, ChunksBody
from asyncsdk.http.stall import IdleTime, SocketProgress, StallTimer, observe
from tests.raw_server import PART, Talk, client_of, reply, serving
from tests.waiting import until

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="tcp_info is Linux's")


@pytest.fixture(params=["acknowledged bytes", "drained slices"])
def _both_ways_to_see(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "drained slices":
        monkeypatch.setattr("asyncsdk.http.stall._tcp_info", lambda _: None)


def part(size: int, stall: float) -> Request[UploadPart]:
    return api.add_upload_part("u", data=lambda: ChunksBody([bytes(size)], "application/octet-stream", stall=stall))


async def deaf(talk: Talk) -> None:
    await asyncio.sleep(60)


@pytest.mark.usefixtures("_both_ways_to_see")
async def test_a_server_that_does_not_read_is_given_up_and_asked_on_a_new_connection() -> None:
    events: list[RequestEvent] = []
    async with serving(deaf) as server, client_of(server, max_retries=1, on_event=events.append) as client:
        began = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"parts: no byte got through for 0\.2 s") as caught:
            await client.send(part(16 << 20, stall=0.2))
        assert 0.4 < time.monotonic() - began < 4
    assert server.connections == 2
    assert caught.value.sent
    assert [event.error for event in events] == ["APITimeoutError"] * 2


async def test_a_deaf_server_behind_tls_is_given_up_too() -> None:
    authority = trustme.CA()
    identity, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(identity)
    authority.configure_trust(trust)
    async with serving(deaf, ssl=identity) as server, client_of(server, max_retries=0, ssl=trust) as client:
        with pytest.raises(APITimeoutError, match="no byte got through"):
            await client.send(part(16 << 20, stall=0.2))


@pytest.mark.usefixtures("_both_ways_to_see")
async def test_a_server_that_reads_all_and_never_answers_has_the_answer_limit() -> None:
    async def mute(talk: Talk) -> None:
        await talk.hear()
        await talk.gone()

    async with serving(mute) as server, client_of(server, max_retries=0) as client:
        began = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"parts: no response within 0\.6 s"):
            await client.send(part(4 << 20, stall=0.2), timeout=0.6)
        assert time.monotonic() - began > 0.6
    assert len(server.requests) == 1


@pytest.mark.usefixtures("_both_ways_to_see")
async def test_a_slow_reader_is_left_alone_however_long_it_takes() -> None:
    async def slow(talk: Talk) -> None:
        head = await talk.hear_head()
        left = int(head.headers["content-length"])
        while left:
            left -= len(await talk.reader.read(min(left, 1024)))
            await asyncio.sleep(0.05)
        await talk.say(reply(200, PART))

    async with serving(slow, buffer=4096) as server, client_of(server, max_retries=0) as client:
        began = time.monotonic()
        await client.send(part(60 << 10, stall=1.0))
        assert time.monotonic() - began > 2.5


async def test_waiting_for_our_own_disk_is_no_stall() -> None:
    class Thoughtful(Body):
        async def write_content(self, writer: AbstractStreamWriter) -> None:
            await self.put(writer, bytes(10))
            self.watch.idle = True
            await asyncio.sleep(0.5)
            self.watch.idle = False
            await self.put(writer, bytes(10))

    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(reply(200, PART))

    request = api.add_upload_part("u", data=lambda: Thoughtful(20, "text/plain", stall=0.1))
    async with serving(handle) as server, client_of(server, max_retries=0) as client:
        assert (await client.send(request)).id == "part_1"


async def test_waiting_for_a_free_connection_is_no_stall() -> None:
    async def slow(talk: Talk) -> None:
        while True:
            await talk.hear()
            await asyncio.sleep(0.3)
            await talk.say(reply(200, PART))

    async with serving(slow) as server, client_of(server, connections=1, max_retries=0, timeout=1.0) as client:
        await asyncio.gather(*(client.send(part(10, stall=0.1)) for _ in range(4)))  # the last one waits for 0.9 s


def test_quiet_is_measured_since_something_moved() -> None:
    quiet = IdleTime(since=100.0)
    assert quiet.seconds(100, moved=5, idle=False) == 0
    assert quiet.seconds(107, moved=5, idle=False) == 7
    assert quiet.seconds(110, moved=6, idle=False) == 0
    assert quiet.seconds(120, moved=6, idle=True) == 0
    assert quiet.seconds(121, moved=6, idle=False) == 1


class Line:
    """A transport whose kernel tells what the test wants."""

    def __init__(self, told: bytes | OSError, waiting: int = 0) -> None:
        self.told, self._waiting = told, waiting

    def get_write_buffer_size(self) -> int:
        return self._waiting

    def get_extra_info(self, _: str) -> Any:
        def getsockopt(*_: object) -> bytes:
            if isinstance(self.told, OSError):
                raise self.told
            return self.told

        return SimpleNamespace(getsockopt=getsockopt)


def tcp_info(acked: int, unacked: int = 0, not_sent: int = 0, rtt: int = 0) -> bytes:
    told = bytearray(192)
    struct.pack_into("=I", told, 24, unacked)
    struct.pack_into("=I", told, 68, rtt)
    struct.pack_into("=Q", told, 120, acked)
    struct.pack_into("=I", told, 144, not_sent)
    return bytes(told)


@linux_only
@pytest.mark.parametrize(
    ("line", "sight"),
    [
        (Line(tcp_info(acked=50, unacked=2)), SocketProgress(50, arrived=False)),
        (Line(tcp_info(acked=50, not_sent=9)), SocketProgress(50, arrived=False)),
        (Line(tcp_info(acked=50), waiting=1), SocketProgress(50, arrived=False)),
        (Line(tcp_info(acked=100)), SocketProgress(100, arrived=True)),
        (Line(tcp_info(acked=100, rtt=150_000)), SocketProgress(100, arrived=True, rtt=0.15)),
        (Line(tcp_info(acked=0), waiting=30), SocketProgress(70, arrived=False)),
        (Line(b"old kernel", waiting=0), SocketProgress(100, arrived=True)),
        (Line(OSError(), waiting=100), SocketProgress(0, arrived=False)),
    ],
)
def test_what_the_kernel_tells_is_what_counts_where_it_tells(line: Any, sight: SocketProgress) -> None:
    assert observe(line, 100) == sight


def test_elsewhere_what_the_transport_took_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    line: Any = Line(tcp_info(acked=100), waiting=40)
    assert observe(line, 100) == SocketProgress(60, arrived=False)


@linux_only
def test_this_kernel_counts_what_was_acknowledged() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as mine:
        mine.sendall(bytes(1000))
        line: Any = SimpleNamespace(get_write_buffer_size=lambda: 0, get_extra_info=lambda _: mine)
        for _ in range(100):
            seen = observe(line, 1000)
            if seen.arrived:
                break
            time.sleep(0.01)
    assert seen.moved >= 1000
    assert seen.arrived


async def test_what_looks_on_can_not_end_the_watch() -> None:
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: raised.append(about))

    def cancelled() -> None:
        if len(raised) < 2:
            line.told = tcp_info(acked=2 + len(raised))  # so that it goes on
        raise asyncio.CancelledError

    line: Any = Line(tcp_info(acked=1))
    line.is_closing, line.abort = lambda: False, lambda: None
    watch = StallTimer(0.1, 0.1, on_look=cancelled)
    watch.start(line)
    await until(lambda: watch.gave_up)
    assert watch.gave_up == "no byte got through for 0.1 s"
    assert len(raised) >= 2
    watch.stop()


async def test_a_watch_that_was_stopped_does_nothing_more() -> None:
    aborted: list[bool] = []
    line: Any = Line(tcp_info(acked=1))
    line.is_closing = lambda: bool(aborted)
    line.abort = lambda: aborted.append(True)
    watch = StallTimer(0.02, 0.02)
    watch.stop()
    watch.start(line)
    watch.stop()
    await asyncio.sleep(0.1)
    assert watch.gave_up == ""
    watch.start(line)
    await until(lambda: aborted)
    assert watch.gave_up == "no byte got through for 0.02 s"
    assert aborted == [True]
    watch.start(line)
    await asyncio.sleep(0.1)
    assert aborted == [True]
    watch.stop()
