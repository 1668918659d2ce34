"""A list is read page after page, and one without an end is not read for ever."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest

from asyncsdk import APIResponseValidationError, AsyncUploader, BadRequestError, api
from asyncsdk.timing import Timing
from tests.raw_server import PART, UPLOAD, Handler, Talk, client_of, reply, serving

Names = Callable[[], Iterator[str]]


def pages_of(names: Iterator[str]) -> Handler:
    """Answers with one file a page, and there is always more."""

    async def handle(talk: Talk) -> None:
        while True:
            received = await talk.hear()
            if received.method == "GET":
                page = {"object": "list", "data": [{"id": next(names), "object": "file"}], "has_more": True}
                await talk.say(reply(200, page))
            elif received.target.endswith("/complete"):
                await talk.say(reply(400, {"error": {"message": "It is completed already."}}))
            else:
                await talk.say(reply(200, PART if received.target.endswith("/parts") else UPLOAD))

    return handle


@pytest.mark.parametrize("turns", [2, 3])
async def test_a_list_whose_cursors_come_again_is_an_error(turns: int) -> None:
    names = itertools.cycle(f"file-{n}" for n in range(turns))
    async with serving(pages_of(names)) as server, client_of(server) as client, asyncio.timeout(5):
        with pytest.raises(APIResponseValidationError, match="the list has no end: after file-0"):
            _ = [file async for file in client.pages(api.list_files())]
    assert len(server.requests) == turns + 1


async def test_a_list_that_gives_its_last_page_for_ever_ends() -> None:
    async with serving(pages_of(itertools.repeat("file-0"))) as server, client_of(server) as client:
        async with asyncio.timeout(5):
            assert {file.id async for file in client.pages(api.list_files())} == {"file-0"}
    assert len(server.requests) == 2


@pytest.mark.parametrize("names", [lambda: itertools.cycle(["a", "b"]), lambda: map(str, itertools.count())])
async def test_a_refused_complete_is_said_though_the_list_has_no_end(names: Names) -> None:
    timing = Timing(file_search=0.3)
    async with serving(pages_of(names())) as server, client_of(server, timing=timing) as client, asyncio.timeout(5):
        with pytest.raises(BadRequestError, match="completed already"):
            await AsyncUploader(client, journal="memory").upload(b"x", purpose="batch", filename="a.bin")
