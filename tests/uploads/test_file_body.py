"""A whole file in one POST /files: streamed out of one pooled block, with a length, anew for each attempt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial

import pytest

from asyncsdk import Client, api
from asyncsdk.api import Request
from asyncsdk.models import File
from asyncsdk.server import Fault, LocalServer
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.body import Buffers, PartBody, PartSource
from asyncsdk.uploads.chunking import BLOCK, Range
from asyncsdk.uploads.pacing.throttle import Throttle
from asyncsdk.uploads.sources.readers import BytesSource
from tests.uploads.part_helpers import LARGE

Make = Callable[[bytes], Request[File]]


@asynccontextmanager
async def sending(server: LocalServer) -> AsyncIterator[tuple[Client, Make, Buffers]]:
    """A client of the server, requests that stream bytes to it, and the pool that they read into."""
    buffers, threads = Buffers(), DaemonThreadPool("test-read", 2)

    def request(content: bytes) -> Request[File]:
        in_memory = BytesSource.over(bytearray(content))  # which may change: it is copied
        source = PartSource(in_memory, threads, buffers, Throttle(), 30.0, lambda _: None, nullcontext)
        body = partial(PartBody, source, Range(0, len(content)))
        return api.create_file(file=body, filename="träin.jsonl", purpose="batch")

    async with Client("sk-test", base_url=server.url) as client:
        yield client, request, buffers


@pytest.mark.parametrize("size", [1, 100_000, BLOCK, BLOCK + 1, len(LARGE)])
async def test_the_server_has_exactly_the_bytes_of_a_streamed_file(size: int) -> None:
    async with LocalServer() as server, sending(server) as (client, request, buffers):
        file = await client.send(request(LARGE[:size]))
        assert server.stored(file.id).read_bytes() == LARGE[:size]
        assert (file.bytes, file.filename, file.purpose) == (size, "träin.jsonl", "batch")
        [record] = server.requests
        assert record.headers["content-length"] == str(record.bytes)
        assert "transfer-encoding" not in record.headers
        blocks = int(size > 100_000)  # one block, however long the file; none for what is in memory and sent at once
        assert len(buffers._free) == blocks  # noqa: SLF001 - what was taken is given back


async def test_an_attempt_after_a_lost_one_sends_the_whole_file_again() -> None:
    cut = Fault("files.create", "reset", "in")
    async with LocalServer(faults=[cut]) as server, sending(server) as (client, request, _):
        file = await client.send(request(LARGE))
        assert server.stored(file.id).read_bytes() == LARGE
        assert [file.id] == [each.id for each in server.files]
        server.assert_all_met()


async def test_bytes_in_memory_make_the_same_file() -> None:
    async with LocalServer() as server, Client("sk-test", base_url=server.url) as client:
        hour = {"anchor": "created_at", "seconds": 3600}
        file = await client.send(api.create_file(file=LARGE, filename="a.txt", purpose="user_data", expires_after=hour))
        assert server.stored(file.id).read_bytes() == LARGE
        assert file.created_at is not None
        assert (file.filename, file.purpose, file.expires_at) == ("a.txt", "user_data", file.created_at + 3600)
