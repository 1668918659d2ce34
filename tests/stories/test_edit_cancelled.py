"""An edit that is cancelled by whoever waits for it, as by a browser that goes away: seen in metrics and in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from asyncsdk import AsyncUploader, Client, CompletedImage, ImageEditor, RequestEvent
from asyncsdk.server import Fault, LocalServer
from tests.raw_server import Talk, client_of, reply, serving
from tests.stories.edits import done
from tests.stories.pictures import png
from tests.stories.support import timeout_once
from tests.stories.test_edit_streams import HEAD, picture

MAYBE_PAID = "the edit was sent and cancelled before its response came: it may have been paid"


@pytest.fixture
def events() -> list[RequestEvent]:
    return []


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with LocalServer() as running:
        yield running


async def edit(client: Client) -> None:
    await ImageEditor(client).edit(png(), "a beret")


async def stream(client: Client) -> None:
    async with ImageEditor(client).stream(png(), "a beret") as images:
        async for _ in images:
            pass


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def arrived(server: LocalServer) -> None:
    while not server.calls.get("edit"):
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)


async def cancelled_natively(work: Any, server: LocalServer) -> None:
    task = asyncio.ensure_future(work)
    await arrived(server)
    task.cancel("gone")
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    assert cancelled.value.args == ("gone",)  # unchanged


async def cancelled_by_timeout(work: Any, server: LocalServer) -> None:
    with pytest.raises(TimeoutError):
        async with timeout_once(lambda: server.calls.get("edit")):
            await work


async def cancelled_by_scope(work: Any, server: LocalServer) -> None:
    async def cancel(scope: anyio.CancelScope) -> None:
        await arrived(server)
        scope.cancel()

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(cancel, scope)
            await work
    assert scope.cancelled_caught


WAYS = [cancelled_natively, cancelled_by_timeout, cancelled_by_scope]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("call", [edit, stream], ids=lambda call: call.__name__)
async def test_an_edit_cancelled_on_its_way_is_an_event_and_a_warning(
    server: LocalServer, events: list[RequestEvent], caplog: pytest.LogCaptureFixture, way: Any, call: Any
) -> None:
    server.inject(Fault("edit", "stall"))
    async with Client("sk-test", base_url=server.url, on_event=events.append) as client:
        await way(call(client), server)
    (event,) = events
    assert (event.route, event.error, event.status, event.attempt) == ("/images/edits", "CancelledError", None, 1)
    assert event.wait is None
    assert event.bytes_sent > len(png())
    assert event.seconds > 0.03
    assert warnings(caplog) == [MAYBE_PAID]


@pytest.mark.parametrize("sent", ["before its connection", "while it waits to be sent again"])
async def test_an_edit_that_was_surely_not_paid_is_cancelled_without_a_warning(
    caplog: pytest.LogCaptureFixture, sent: str
) -> None:
    came = asyncio.Event()

    async def handle(talk: Talk) -> None:
        came.set()
        await talk.hear()
        await talk.say(reply(429, {"error": {"message": "busy", "type": "t"}}, {"retry-after": "60"}))
        await talk.gone()

    events: list[RequestEvent] = []
    async with serving(handle) as server:
        if sent == "before its connection":
            server.scheme = "https"  # it waits for a handshake that never comes
        async with client_of(server, on_event=events.append) as client:
            with pytest.raises(TimeoutError):
                async with timeout_once(came.is_set if sent == "before its connection" else lambda: events):
                    await edit(client)
    assert MAYBE_PAID not in warnings(caplog)
    if sent == "before its connection":
        assert [(event.error, event.bytes_sent) for event in events] == [("CancelledError", 0)]
    else:
        assert [event.error for event in events] == ["RateLimitError"]  # no second attempt began


@pytest.mark.parametrize("came", ["one of two", "all"])
async def test_a_stream_left_by_a_cancellation_is_warned_of_until_all_its_pictures_came(
    caplog: pytest.LogCaptureFixture, came: str
) -> None:
    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(HEAD + picture())
        await talk.gone()

    got: list[Any] = []

    async def look(client: Client, n: int) -> None:
        async with ImageEditor(client).stream(png(), "a beret", n=n) as images:
            async for image in images:
                got.append(image)
                if n == 1:
                    await asyncio.Event().wait()

    async with serving(handle) as server, client_of(server) as client:
        with pytest.raises(TimeoutError):
            async with timeout_once(lambda: got):
                await look(client, 1 if came == "all" else 2)
    assert [type(image) for image in got] == [CompletedImage]
    assert warnings(caplog) == ([] if came == "all" else [MAYBE_PAID])


async def test_an_edit_that_came_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    has_come = asyncio.Event()

    async def use(client: Client) -> None:
        await edit(client)
        has_come.set()
        await asyncio.Event().wait()

    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(done())

    async with serving(handle) as server, client_of(server) as client:
        with pytest.raises(TimeoutError):
            async with timeout_once(has_come.is_set):
                await use(client)
    assert warnings(caplog) == []


async def test_each_part_under_way_of_a_cancelled_upload_is_an_event(
    server: LocalServer, events: list[RequestEvent]
) -> None:
    server.inject(Fault("part", "stall", every=1))
    async with Client("sk-test", base_url=server.url, on_event=events.append) as client:
        uploader = AsyncUploader(client, journal="memory", part_size=2**19)
        with pytest.raises(TimeoutError):
            async with timeout_once(lambda: server.calls.get("part") == 2):
                await uploader.upload(b"a" * 2**20, purpose="batch")
    ended = [(event.route, event.error) for event in events]
    assert ended == [("/uploads", None), *[("/uploads/{upload_id}/parts", "CancelledError")] * 2]
