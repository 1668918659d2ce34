"""The listener: how many connections get in, for how long, and what is sent to those that send no valid HTTP."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from asyncsdk.server import LocalServer
from asyncsdk.server.listener import ServerTiming
from tests.server.support import connected, data_field, form_of, part_request, running
from tests.waiting import until

KEY = b"sk-canary-4711"
HEAD = b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\n"


async def answer_to(server: LocalServer, request: bytes) -> bytes:
    """All that comes back until the server hangs up."""
    async with asyncio.timeout(10), connected(server) as (reader, writer):
        writer.write(request)
        return await reader.read()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + b"Authorization: Bearer " + KEY + b"a" * 9000 + b"\r\n\r\n", b"431"),
        (HEAD + b"Authorization: Bearer " + KEY + b"\0\r\n\r\n", b"400"),
        (HEAD + b"Authorization : Bearer " + KEY + b"\r\n\r\n", b"400"),
        (HEAD + b"".join(b"X-%d: %s\r\n" % (number, KEY) for number in range(200)) + b"\r\n", b"400"),
        (b"GET /v1/files?" + KEY + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"431"),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", b"400"),
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01" + KEY + b"\r\n\r\n", b"400"),
    ],
    ids=["long", "nul", "space", "many", "address", "two lengths", "length and chunks", "tls"],
)
async def test_what_is_no_http_is_refused_in_openais_shape_and_echoed_nowhere(
    request_: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with LocalServer() as server:
        answer = await answer_to(server, request_)
    assert answer.split()[1] == status
    assert b'"type": "invalid_request_error"' in answer
    assert KEY not in answer
    assert KEY.decode() not in caplog.text


def connections_of(server: LocalServer) -> int:
    running = server._running().server  # noqa: SLF001 - counted on the way to it, a connection may be cut off already
    assert running is not None
    return len(running.connections)


async def test_connections_above_the_limit_are_told_so_and_others_go_on() -> None:
    async with LocalServer(connections=2) as server, AsyncExitStack() as stack:
        held = [await stack.enter_async_context(connected(server)) for _ in range(2)]
        await until(lambda: connections_of(server) == 2)
        crowded = await answer_to(server, b"")
        assert crowded.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in crowded
        for reader, writer in held:
            writer.write(HEAD + b"\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 401")
            writer.transport.abort()
        await until(lambda: connections_of(server) == 0)
        assert (await answer_to(server, HEAD + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 401")


async def test_of_many_connections_at_once_no_more_than_the_limit_get_in() -> None:
    async with LocalServer(connections=2) as server:
        answers = asyncio.gather(*(answer_to(server, HEAD + b"Connection: close\r\n\r\n") for _ in range(30)))
        most = 0
        while not answers.done():
            most = max(most, connections_of(server))
            await asyncio.sleep(0)
        statuses = [answer.split()[1] for answer in await answers]
    assert most == 2
    assert set(statuses) == {b"401", b"503"}


async def test_who_is_refused_and_sends_a_long_request_reads_why() -> None:
    async with LocalServer(connections=1) as server, connected(server):
        await until(lambda: connections_of(server) == 1)
        async with connected(server) as (reader, writer):
            for _ in range(20):
                writer.write(bytes(100_000))
                await asyncio.sleep(0.01)
            assert (await reader.read()).startswith(b"HTTP/1.1 503")


async def test_nothing_is_kept_of_a_connection_that_ended() -> None:
    async with LocalServer() as server:
        await answer_to(server, HEAD + b"Connection: close\r\n\r\n")
        await until(lambda: connections_of(server) == 0)
        gc.collect()
        # `isinstance` would ask lazy objects of other packages what they are
        assert [found for found in gc.get_objects() if issubclass(type(found), web.RequestHandler)] == []


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"\r\n", HEAD + b"\r\n" + HEAD])
async def test_who_never_comes_to_the_end_of_a_request_is_cut_off(sent: bytes) -> None:
    async with LocalServer(timing=ServerTiming(idle=0.2)) as server:
        await answer_to(server, sent)


async def test_a_body_of_which_nothing_more_comes_is_given_up() -> None:
    async with running(timing=ServerTiming(silence=0.2)) as (server, call):
        upload_id = await call.created(10)
        await answer_to(server, part_request(upload_id, form_of(data_field(b"0123456789")))[:-5])
        await until(lambda: not server.parts_in_flight)
        assert not list(server.directory_in_use.glob("incoming/*"))


async def test_a_slow_and_honest_body_takes_all_the_time_it_needs() -> None:
    async with running(timing=ServerTiming(silence=2.0)) as (server, call):
        upload_id = await call.created(10)
        request = part_request(upload_id, form_of(data_field(b"0123456789")))
        async with connected(server) as (reader, writer):
            for start in range(0, len(request), 30):  # takes longer as a whole than any silence may
                writer.write(request[start : start + 30])
                await asyncio.sleep(0.25)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_an_answer_that_nobody_takes_is_given_up() -> None:
    async with running(timing=ServerTiming(unread=0.5)) as (server, call):
        done = await call.uploaded(bytes(32 << 20))
        path = f"/v1/files/{done.json['file']['id']}/content"
        async with connected(server) as (_, writer):  # whose reader stops at 64 KiB
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\napi-key: k\r\n\r\n".encode())
            async with asyncio.timeout(20):
                while not [record for record in server.requests if record.route == "files.content"]:
                    await asyncio.sleep(0.05)
            writer.transport.abort()


async def test_a_body_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.server.bodies.BODY_LIMIT", 1000)
    async with running() as (_, call):
        upload_id = await call.created(10)
        answer = await call("POST", f"uploads/{upload_id}/cancel", data=bytes(2000))
        assert (answer.status, answer.error["code"]) == (413, "payload_too_large")
