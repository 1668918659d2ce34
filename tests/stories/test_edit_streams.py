"""A streamed edit whose stream does not go as it should: what is whole is kept, and the rest is told truly."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from asyncsdk import ChargeUnknownError, CompletedImage, ImageEditor
from tests.raw_server import RawServer, Talk, client_of, serving
from tests.stories.pictures import png

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"
BUSY = {"message": "Limit 5, Used 5, Requested 1. Please try again in 1ms.", "code": "rate_limit_exceeded"}


def frame(kind: str, **fields: Any) -> bytes:
    return b"data: " + json.dumps({"type": kind, **fields}).encode() + b"\n\n"


def picture(seed: int = 1) -> bytes:
    return frame("image_edit.completed", b64_json=base64.b64encode(png(seed)).decode(), usage={"total_tokens": 7})


async def edited(server: RawServer, **fields: Any) -> list[bytes]:
    async with client_of(server) as client:
        result = await ImageEditor(client).edit(png(), "a beret", model="gpt-image-2", stream=True, **fields)
        return await result.contents()


async def test_a_connection_lost_behind_the_picture_takes_nothing_away() -> None:
    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(HEAD + picture())
        await asyncio.sleep(0.05)
        talk.reset()

    async with serving(handle) as server:
        assert await edited(server) == [png(1)]


@pytest.mark.parametrize("end", [b"", DONE])
async def test_nobody_waits_for_a_server_that_does_not_hang_up(end: bytes) -> None:
    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(HEAD + picture() + end)
        await talk.gone()

    async with serving(handle) as server, asyncio.timeout(30):
        assert await edited(server) == [png(1)]


async def test_an_end_before_all_pictures_keeps_those_that_came() -> None:
    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(HEAD + picture() + DONE)
        await talk.gone()

    async with serving(handle) as server, asyncio.timeout(30):
        assert await edited(server, n=2) == [png(1)]


@pytest.mark.parametrize("error", [BUSY, {"message": "it broke", "type": "server_error"}], ids=["busy", "broken"])
async def test_an_error_behind_a_picture_keeps_the_picture(error: dict[str, str]) -> None:
    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(HEAD + picture() + frame("error", error=error))

    async with serving(handle) as server:
        assert await edited(server, n=2) == [png(1)]
        assert len(server.requests) == 1


async def test_whoever_watches_the_stream_sees_the_picture_and_no_error() -> None:
    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(HEAD + picture())
        talk.reset()

    async with (
        serving(handle) as server,
        client_of(server) as client,
        ImageEditor(client).stream(png(), "a beret", model="gpt-image-2") as events,
    ):
        assert [type(event) for event in [event async for event in events]] == [CompletedImage]


async def test_a_rate_limit_in_the_stream_is_waited_out_while_no_picture_has_come() -> None:
    answers = [frame("error", error=BUSY), picture()]

    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(HEAD + answers.pop(0))

    async with serving(handle) as server:
        assert await edited(server) == [png(1)]
        assert len(server.requests) == 2


async def test_an_end_without_any_picture_is_not_sent_again() -> None:
    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(HEAD + DONE)

    async with serving(handle) as server:
        with pytest.raises(ChargeUnknownError, match="ended without the completed picture"):
            await edited(server)
        assert len(server.requests) == 1
