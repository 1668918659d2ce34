"""A paid response that breaks off, or with nothing in it to use: what is whole is kept, the rest as it came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from asyncsdk import (
    APIConnectionError,
    ChargeUnknownError,
    CompletedImage,
    ImageEditor,
    NotTheAPIError,
    PartialImage,
    RateLimitError,
)
from asyncsdk.images.sending import Event
from tests.raw_server import RawServer, Talk, answering, client_of, reply, serving
from tests.stories.dresses import EVENTS, PARTIAL, PICTURES, b64, body, frames, head
from tests.stories.edits import MODEL, PICTURE, take

FIRST, SECOND = PICTURES[:2]
JSON = body([{"b64_json": b64(FIRST)}, {"b64_json": b64(SECOND)}]).encode()
STREAM = frames([FIRST, SECOND]).encode()
WITHIN_THE_SECOND = b64(SECOND)[:400].encode()
BUSY = {"message": "Limit 5, Used 5, Requested 1. Please try again in 1ms.", "code": "rate_limit_exceeded"}
Handler = Callable[[Talk], Any]


def saying(content: bytes, end: str, *lines: str) -> Handler:
    """Answer each edit with `content` in a chunk, and end in one of the ways in which responses end."""

    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(head("Transfer-Encoding: chunked", *lines) + b"%x\r\n%b\r\n" % (len(content), content))
        if end == "as it should":
            await talk.say(b"0\r\n\r\n")
        if end == "no more":
            await talk.gone()
        await asyncio.sleep(0.05)
        if end == "reset":
            talk.reset()

    return handle


def cut_after(whole: bytes, piece: bytes) -> bytes:
    return whole[: whole.index(piece) + len(piece)]


async def edited(server: RawServer, *, end: str = "", **fields: Any) -> Any:
    async with client_of(server) as client:
        timeout = 1.0 if end == "no more" else 20.0  # nothing but its own end is waited for, where it has one
        return await ImageEditor(client).edit(PICTURE, "a beret", model=MODEL, timeout=timeout, **fields)


@pytest.mark.parametrize("end", ["as it should", "hung up", "reset", "no more"])
@pytest.mark.parametrize("whole", [JSON, STREAM], ids=["JSON", "stream"])
async def test_of_two_pictures_the_second_of_which_is_cut_the_first_is_kept(whole: bytes, end: str) -> None:
    async with serving(saying(cut_after(whole, WITHIN_THE_SECOND), end)) as server:
        result = await edited(server, end=end, n=2)
        assert [image.content for image in result.images] == [FIRST]
        [cut] = result.response.unreadable
        assert SECOND.startswith(cut.raw)
        assert len(cut.raw) == 300
        assert "cut off" in cut.reason
        assert len(server.requests) == 1


@pytest.mark.parametrize("end", ["as it should", "hung up", "reset"])
async def test_an_address_that_came_before_the_cut_is_kept(end: str) -> None:
    there = body([{"url": "https://x.example/1?sig=a,b"}, {"url": "https://x.example/2"}]).encode()
    async with serving(saying(cut_after(there, b"x.example/2"), end)) as server:
        result = await edited(server, n=2)
    assert [image.url for image in result.images] == ["https://x.example/1?sig=a,b"]
    assert result.created == 1


@pytest.mark.parametrize("end", ["as it should", "hung up", "reset", "no more"])
@pytest.mark.parametrize("whole", [JSON, STREAM], ids=["JSON", "stream"])
async def test_a_cut_within_the_only_picture_is_uncertain_and_keeps_what_came(whole: bytes, end: str) -> None:
    async with serving(saying(cut_after(whole, b64(FIRST)[:400].encode()), end)) as server:
        with pytest.raises(ChargeUnknownError) as caught:
            await edited(server, end=end)
        assert list(caught.value.raw) == [FIRST[:300]]
        assert isinstance(caught.value.__cause__, APIConnectionError) is (end != "as it should")
        assert len(server.requests) == 1


async def test_a_stream_that_is_cut_gives_what_is_whole_and_then_says_so() -> None:
    content = PARTIAL.encode() + cut_after(STREAM, WITHIN_THE_SECOND)
    found: list[Event] = []
    async with (
        serving(saying(content, "reset", EVENTS)) as server,
        client_of(server) as client,
        ImageEditor(client).stream(PICTURE, "a beret", model=MODEL, n=2) as events,
    ):
        with pytest.raises(ChargeUnknownError) as caught:
            await take(events, found)
    assert [type(event) for event in found] == [PartialImage, CompletedImage]
    assert found[1].content == FIRST
    assert list(caught.value.raw) == [SECOND[:300]]


class TestAStreamThatHasBegun:
    """It is billed, whatever comes after its first picture: it is never sent again by itself."""

    ERROR = f"data: {json.dumps({'type': 'error', 'error': BUSY})}\n\n"

    async def test_is_not_sent_again_for_an_error_that_would_be_waited_out_before(self) -> None:
        async with answering(reply(200, PARTIAL + self.ERROR)) as server:
            with pytest.raises(ChargeUnknownError, match="may have been paid") as caught:
                await edited(server, stream=True, partial_images=1)
            assert isinstance(caught.value.__cause__, RateLimitError)
            assert len(server.requests) == 1

    async def test_says_so_also_to_a_caller_who_looks_at_each_picture(self) -> None:
        found: list[Event] = []
        async with (
            answering(reply(200, PARTIAL + self.ERROR)) as server,
            client_of(server) as client,
            ImageEditor(client).stream(PICTURE, "a beret", model=MODEL, partial_images=1) as events,
        ):
            with pytest.raises(ChargeUnknownError):
                await take(events, found)
        assert [type(event) for event in found] == [PartialImage]

    async def test_may_fail_before_its_first_picture_as_any_other_request(self) -> None:
        async with answering(reply(200, self.ERROR), reply(200, frames([FIRST]))) as server:
            result = await edited(server, stream=True)
            assert [image.content for image in result.images] == [FIRST]
            assert len(server.requests) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"<html>a page</html>",
        b"",
        FIRST[:100],
        b'{"error": "a word"}',
        b"%PDF-1.7 and more",
    ],
)
@pytest.mark.parametrize("name", ["b64_json", "url"])
async def test_what_is_not_a_picture_is_never_called_one(name: str, content: bytes) -> None:
    text = b64(content) if name == "b64_json" else f"data:image/png;base64,{b64(content)}"
    async with answering(reply(200, body([{name: text}]), {"x-request-id": "req_1"})) as server:
        with pytest.raises(ChargeUnknownError, match="without a picture that can be used") as caught:
            await edited(server)
        assert list(caught.value.raw) == [content or json.dumps({name: text}).encode()]
        assert (caught.value.request_id, caught.value.status_code) == ("req_1", 200)
        assert len(server.requests) == 1


async def test_an_address_beside_what_is_not_a_picture_is_where_the_picture_is() -> None:
    item = {"b64_json": b64(b"<html>"), "url": "https://x.example/1"}
    async with answering(reply(200, body([item]))) as server:
        [image] = (await edited(server)).images
    assert (image.content, image.url) == (None, "https://x.example/1")


async def test_an_empty_response_is_uncertain() -> None:
    async with answering(reply(200, b"")) as server:
        with pytest.raises(ChargeUnknownError, match="is empty"):
            await edited(server)
        assert len(server.requests) == 1


@pytest.mark.parametrize("content", ["<html>Log in</html>", "\n<!DOCTYPE html>", "upstream connect error"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_page_is_not_the_api(content: str, *, stream: bool) -> None:
    async with answering(reply(200, content)) as server, client_of(server, max_retries=0) as client:
        editor = ImageEditor(client)
        with pytest.raises(NotTheAPIError):
            await editor.edit(PICTURE, "a beret", model=MODEL, stream=stream)
        with pytest.raises(NotTheAPIError):
            async with editor.stream(PICTURE, "a beret", model=MODEL) as events:
                assert [event async for event in events] == []


async def test_a_picture_of_an_address_is_fetched_while_streaming() -> None:
    pictures = {"/v1/1": FIRST, "/v1/2": b"<html>gone</html>"}

    async def handle(talk: Talk) -> None:
        request = await talk.hear()
        items = [{"url": f"{talk.server.url}/{number}"} for number in (1, 2)]
        await talk.say(reply(200, pictures.get(request.target, body(items))))

    found: list[Event] = []
    async with (
        serving(handle) as server,
        client_of(server) as client,
        ImageEditor(client).stream(PICTURE, "a beret", model=MODEL, n=2) as events,
    ):
        with pytest.raises(ChargeUnknownError, match="without a picture") as caught:
            await take(events, found)
    assert [event.content for event in found] == [FIRST]
    assert list(caught.value.raw) == [f"{server.url}/2".encode()]


@pytest.mark.parametrize("content", [b64(FIRST), f"data:image/png;base64,{b64(FIRST)}", json.dumps(b64(FIRST))])
async def test_a_picture_that_is_nothing_but_base64_is_kept(content: str) -> None:
    async with answering(reply(200, content)) as server:
        assert [image.content for image in (await edited(server)).images] == [FIRST]


@pytest.mark.parametrize(
    ("limit", "content"),
    [
        ("asyncsdk.http.edit_response.LARGEST_RESPONSE", b": keep-alive\n" * 100),
        ("asyncsdk.http.base64_json._LONGEST_PICTURE", b'data: {"b64_json": "' + b"A" * 2000),
        ("asyncsdk.http.base64_json._LONGEST_TEXT", b"data: " + b" " * 2000),
        ("asyncsdk.http.frames.LARGEST_PICTURE", FIRST * 2),
    ],
)
async def test_what_has_no_end_is_not_read_any_further(
    limit: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit, 1000)
    async with serving(saying(content, "no more")) as server:
        with pytest.raises(ChargeUnknownError, match=r"not read any further: .* larger than"):
            await edited(server)
