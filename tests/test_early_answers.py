"""Answers before the whole request was sent, and requests given up: understood, and no socket stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from asyncsdk import APIConnectionError, APITimeoutError, PayloadTooLargeError, UploadPart, api
from asyncsdk.api import Request
from tests.raw_server import PART, Talk, client_of, reply, serving
from tests.waiting import until

LARGE = 8 << 20  # more than the kernel takes in for a server that does not read


def part(size: int = LARGE) -> Request[UploadPart]:
    return api.add_upload_part("upload_1", data=b"x" * size)


async def test_an_early_200_counts_as_lost() -> None:
    async def hasty(talk: Talk) -> None:
        await talk.hear_head()
        await talk.say(reply(200, PART))
        await talk.reader.read(1000)
        await done.wait()

    done = asyncio.Event()
    async with serving(hasty) as server, client_of(server, max_retries=0) as client:
        with pytest.raises(APIConnectionError, match="before it had the whole request") as caught:
            await client.send(part())
        done.set()
    assert caught.value.sent


@pytest.mark.parametrize("size", [LARGE, 1000])
async def test_an_early_413_is_a_413(size: int) -> None:
    async def refuse(talk: Talk) -> None:
        await talk.hear_head()
        await talk.say(reply(413, {"error": {"message": "too large"}}))
        await talk.gone()

    async with serving(refuse) as server, client_of(server) as client:
        with pytest.raises(PayloadTooLargeError, match="too large"):
            await client.send(part(size))


async def test_an_early_refusal_by_a_server_that_reads_nothing_more_is_still_read_in_time() -> None:
    done = asyncio.Event()

    async def refuse(talk: Talk) -> None:
        await talk.hear_head()
        await talk.say(reply(413, {"error": {"message": "too large"}}))
        await done.wait()

    async with serving(refuse) as server, client_of(server) as client:
        async with asyncio.timeout(5):
            with pytest.raises(PayloadTooLargeError):
                await client.send(part())
        assert open_sockets_to(server.port) == 0
        done.set()


def open_sockets_to(port: int) -> int:
    """How many sockets that a process still holds lead to `port`."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[2].split(":")[1], 16) == port and row[9] != "0" for row in rows)


async def test_a_cancelled_send_leaves_no_socket_although_the_peer_does_not_read() -> None:
    heard = asyncio.Event()

    async def deaf(talk: Talk) -> None:
        await talk.hear_head()
        heard.set()
        await asyncio.sleep(60)

    async with serving(deaf) as server, client_of(server) as client:
        task = asyncio.create_task(client.send(part()))
        await heard.wait()
        await asyncio.sleep(0.05)
        assert open_sockets_to(server.port) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: open_sockets_to(server.port) == 0)


async def test_an_answer_that_comes_for_ever_is_given_up_at_its_limit() -> None:
    async def endless(talk: Talk) -> None:
        await talk.hear()
        await talk.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{")
        while True:
            await talk.say(b" ")
            await asyncio.sleep(0.01)

    async with serving(endless) as server, client_of(server, max_retries=0, timeout=0.3) as client:
        async with asyncio.timeout(5):
            with pytest.raises(APITimeoutError, match=r"no response within 0\.3 s"):
                await client.send(api.retrieve_file("file-1"))
        await until(lambda: open_sockets_to(server.port) == 0)
