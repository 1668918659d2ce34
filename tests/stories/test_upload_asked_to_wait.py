"""A server that asks for minutes is waited for while it keeps the upload; else the caller hears for how long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, InternalServerError, RateLimitError
from asyncsdk.server import Fault, LocalServer
from tests.stories.support import MIB, MakeFile, interrupted
from tests.waiting import until


@pytest.mark.parametrize("begun", ["not at all", "without a part", "with parts"])
async def test_a_server_that_asks_for_minutes_is_waited_for_as_long_as_it_keeps_the_upload(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, begun: str
) -> None:
    path, uploader = make_file(), AsyncUploader(client, journal=journal, part_size=MIB, max_retries=1)
    if begun == "with parts":
        await interrupted(server, client, journal, path)
    elif begun == "without a part":
        server.inject(Fault("part", "answer", "before", every=1, status=500))
        with pytest.raises(InternalServerError):
            await uploader.upload(path, purpose="batch")
        server.clear_faults()
    server.inject(Fault("part", "answer", "before", every=1, status=429, retry_after=300))
    notes: list[str] = []
    sending = asyncio.ensure_future(
        uploader.upload(path, purpose="batch", on_progress=lambda seen: notes.append(seen.note))
    )
    waits = "the server responded with 429; trying again in 300 s"
    try:
        async with asyncio.timeout(30):
            await until(lambda: sending.done() or waits in notes)
        assert waits in notes
    finally:
        sending.cancel()
        await asyncio.wait([sending])
    assert sending.cancelled()
    assert server.calls["create"] == 1


@pytest.mark.parametrize("begun", [False, True])
async def test_a_wait_for_longer_than_the_server_keeps_the_upload_is_left_to_the_caller_and_named(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, *, begun: bool
) -> None:
    path, uploader = make_file(), AsyncUploader(client, journal=journal, part_size=MIB)
    server.inject(Fault("part", "answer", "before", every=1, status=429, retry_after=7200))
    for _ in range(2 if begun else 1):
        with pytest.raises(RateLimitError) as failed:
            await uploader.upload(path, purpose="batch")
    assert failed.value.retry_after == 7200
    assert "The server asks to wait 7200 s." in str(failed.value)
    assert failed.value.advice == (
        "No part of it was confirmed. Repeat the call: it sends all of it, and no second file is made."
    )
    server.clear_faults()
    result = await uploader.upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert (server.calls["create"], len(server.files)) == (1, 1)


async def test_a_long_wait_before_there_is_an_upload_is_left_to_the_caller_and_named(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    server.inject(Fault("create", "answer", "before", status=429, retry_after=300))
    with pytest.raises(RateLimitError, match="The server asks to wait 300 s") as failed:
        await uploader.upload(make_file(), purpose="batch")
    assert failed.value.retry_after == 300
    assert failed.value.advice == "Nothing was sent yet. Repeat the call."
