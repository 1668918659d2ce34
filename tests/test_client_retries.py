"""When `Client` asks again, with what, and who hears of it."""

from __future__ import annotations

import asyncio
import logging
import pickle

import anyio
import pytest

from asyncsdk import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    Client,
    InternalServerError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    RequestEvent,
    api,
)
from asyncsdk.http.response import Stream
from asyncsdk.images.billing import is_safe_to_repeat
from asyncsdk.retry import Retry
from tests.raw_server import PART, QUICK, answering, client_of, reply

PIXELS = bytes(range(256)) * 5000
EDIT = api.edit_image(
    image=api.ImageFile(content=PIXELS, filename="a.png", mime_type="image/png"), prompt="x", stream=True
)
GET_FILE = api.retrieve_file("file-1")
FILE = {"id": "file-1", "expires_at": None, "status_details": None}


async def test_a_key_function_is_asked_at_each_attempt() -> None:
    keys = iter(["first", "second"])

    async def current_key() -> str:
        return next(keys)

    async with (
        answering(reply(500), reply(200, FILE)) as server,
        Client(current_key, base_url=server.url, timing=QUICK) as client,
    ):
        await client.send(GET_FILE)
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer first", "Bearer second"]


async def test_trouble_of_the_server_is_tried_again_and_told(caplog: pytest.LogCaptureFixture) -> None:
    events: list[RequestEvent] = []
    replies = reply(500, "", {"x-request-id": "r1"}), reply(503, "", {"retry-after-ms": "20"}), reply(200, FILE)
    async with answering(*replies) as server, client_of(server, on_event=events.append) as client:
        with caplog.at_level(logging.WARNING, "asyncsdk"):
            assert (await client.send(GET_FILE)).id == "file-1"
    assert [(event.attempt, event.status, event.error) for event in events] == [
        (1, 500, "InternalServerError"),
        (2, 503, "InternalServerError"),
        (3, 200, None),
    ]
    assert (events[0].route, events[0].method, events[0].request_id) == ("/files/{file_id}", "GET", "r1")
    assert (events[1].wait, events[2].wait) == (0.02, None)
    assert all(event.seconds > 0 for event in events)
    assert len([record for record in caplog.records if "trying again" in record.message]) == 2
    assert server.connections == 1


async def test_after_the_last_retry_the_error_comes_out() -> None:
    async with answering(reply(500)) as server, client_of(server, max_retries=1) as client:
        with pytest.raises(InternalServerError):
            await client.send(GET_FILE)
        with pytest.raises(InternalServerError):
            await client.send(GET_FILE, max_retries=0)
    assert len(server.requests) == 3


async def test_a_shared_retry_takes_the_place_of_max_retries() -> None:
    shared = Retry(5, budget=3)
    async with answering(reply(500)) as server, client_of(server, max_retries=0) as client:
        for _ in range(3):
            with pytest.raises(InternalServerError):
                await client.send(GET_FILE, retry=shared)
    assert len(server.requests) == 3 + 3
    assert shared.answered


async def test_who_shares_a_retry_hears_of_each_wait() -> None:
    waits: list[tuple[str, float]] = []
    shared = Retry(on_wait=lambda error, delay: waits.append((type(error).__name__, delay)))
    async with answering(reply(429, "", {"retry-after": "0"}), reply(200, FILE)) as server, client_of(server) as client:
        await client.send(GET_FILE, retry=shared)
    assert waits == [("RateLimitError", 0.0)]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply(429, {"error": {"message": "no more", "code": "insufficient_quota"}}), QuotaExceededError),
        (reply(429, {"error": {"message": "Limit 5, Used 0, Requested 10."}}), RateLimitError),
        (reply(429, "", {"Retry-After": "3600"}), RateLimitError),
        (reply(500, "", {"x-should-retry": "false"}), InternalServerError),
        (reply(401), AuthenticationError),
        (reply(404), NotFoundError),
    ],
)
async def test_what_waiting_does_not_heal_is_not_tried_again(answer: bytes, kind: type[Exception]) -> None:
    async with answering(answer) as server, client_of(server) as client:
        with pytest.raises(kind):
            await client.send(GET_FILE)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("headers", "seconds", "ending"),
    [
        ({"Retry-After": "300"}, 300.0, "Slow down. The server asks to wait 300 s."),
        ({"Retry-After": "9" * 30}, 1e30, "Slow down. The server asks to wait 1e+30 s."),
        ({"Retry-After-Ms": "200000", "x-request-id": "r1"}, 200.0, "(request r1). The server asks to wait 200 s."),
        ({"Retry-After": "300", "x-should-retry": "false"}, 300.0, "The server asks to wait 300 s."),
        ({"x-should-retry": "false"}, None, "429: Slow down."),
        ({"Retry-After": "0", "x-should-retry": "false"}, 0.0, "429: Slow down."),
    ],
)
async def test_a_call_that_gives_up_says_how_long_the_server_asks_to_wait(
    headers: dict[str, str], seconds: float | None, ending: str
) -> None:
    answer = reply(429, {"error": {"message": "Slow down."}}, headers)
    async with answering(answer) as server, client_of(server) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.send(GET_FILE)
    assert caught.value.retry_after == seconds
    assert str(caught.value) == caught.value.message
    assert caught.value.message.endswith(ending)
    assert str(pickle.loads(pickle.dumps(caught.value))) == caught.value.message


async def test_a_wait_is_said_once_of_a_call_that_was_tried_again_and_not_where_waiting_does_not_help(
    caplog: pytest.LogCaptureFixture,
) -> None:
    empty = reply(429, {"error": {"message": "no more", "code": "insufficient_quota"}}, {"Retry-After": "300"})
    async with answering(reply(503, "", {"retry-after-ms": "20"}), empty) as server, client_of(server) as client:
        with pytest.raises(QuotaExceededError) as caught:
            await client.send(GET_FILE)
    assert caught.value.retry_after == 300.0
    assert "asks to wait" not in f"{caught.value} {caplog.text}"


async def test_the_server_may_order_a_retry() -> None:
    async with (
        answering(reply(400, "", {"x-should-retry": "true"}), reply(200, FILE)) as server,
        client_of(server) as client,
    ):
        await client.send(GET_FILE)
    assert len(server.requests) == 2


async def test_each_attempt_gets_a_body_of_its_own() -> None:
    request = api.add_upload_part("upload_1", data=b"x" * 100)
    async with answering(reply(500), reply(500), reply(200, PART)) as server, client_of(server) as client:
        assert (await client.send(request)).id == "part_1"
    boundaries = {request.headers["content-type"] for request in server.requests}
    assert len(boundaries) == len(server.requests) == 3
    assert all(b"x" * 100 in request.body for request in server.requests)


async def test_on_event_that_raises_is_called_again_and_logged_in_full_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = 0

    def fail(_: RequestEvent) -> None:
        nonlocal told
        told += 1
        raise ZeroDivisionError

    async with answering(reply(200, FILE)) as server, client_of(server, on_event=fail) as client:
        await client.send(GET_FILE)
        await client.send(GET_FILE)
    assert told == 2
    assert [
        (record.levelno, bool(record.exc_info)) for record in caplog.records if "on_event" in record.getMessage()
    ] == [
        (logging.ERROR, True),
        (logging.DEBUG, False),
    ]


async def test_each_attempt_waits_for_its_turn_the_first_included() -> None:
    told: list[str] = []

    async def turn() -> None:
        told.append(f"turn after {len(server.requests)}")

    def on_wait(*_: object) -> None:
        told.append("wait")

    async with answering(reply(500), reply(500), reply(200, FILE)) as server, client_of(server) as client:
        await client.send(GET_FILE, retry=Retry(before_attempt=turn, on_wait=on_wait))
    assert told == ["turn after 0", "wait", "turn after 1", "wait", "turn after 2"]


async def test_whoever_wants_to_know_hears_that_the_first_byte_of_a_body_went_out() -> None:
    told: list[str] = []

    async def turn() -> None:
        told.append("turn")

    request = api.add_upload_part("upload_1", data=b"x" * 2_000_000)
    async with answering(reply(500), reply(200, PART)) as server, client_of(server) as client:
        await client.send(request, retry=Retry(before_attempt=turn, on_sent=lambda: told.append("sent")))
    assert told == ["turn", "sent", "turn", "sent"]


async def test_no_byte_is_told_to_be_sent_where_nobody_listens() -> None:
    told: list[str] = []
    async with answering(reply(200)) as server:
        client = client_of(server)
    async with client:
        with pytest.raises(APIConnectionError):
            await client.send(
                api.add_upload_part("upload_1", data=b"x"), retry=Retry(0, on_sent=lambda: told.append("sent"))
            )
    assert told == []


async def test_what_a_turn_raises_comes_out_and_nothing_is_sent() -> None:
    async def turn() -> None:
        raise ZeroDivisionError

    async with answering(reply(200, FILE)) as server, client_of(server) as client:
        with pytest.raises(ZeroDivisionError):
            await client.send(GET_FILE, retry=Retry(before_attempt=turn))
        with pytest.raises(ZeroDivisionError):
            async with client.stream(GET_FILE, retry=Retry(before_attempt=turn)):
                pass
    assert server.connections == 0


@pytest.mark.parametrize("answer", [reply(500), reply(408), reply(503)])
async def test_what_may_be_paid_is_not_asked_again(answer: bytes) -> None:
    async with answering(answer) as server, client_of(server) as client:
        with pytest.raises(APIStatusError):
            await client.send(EDIT, retry=Retry(should_retry=is_safe_to_repeat))
        with pytest.raises(APIStatusError):
            async with client.stream(EDIT, retry=Retry(should_retry=is_safe_to_repeat)):
                pass
    assert len(server.requests) == 2


async def test_readers_of_two_requests_may_raise_one_error_and_each_is_asked_again() -> None:
    shared = APIConnectionError("the pipeline behind both is gone", request="mine", sent=True)

    async def reader(_: Stream) -> None:
        raise shared

    async with answering(reply(200, FILE)) as server, client_of(server, max_retries=2) as client:

        async def ask(after: float) -> None:
            await anyio.sleep(after)
            await client.receive(GET_FILE, reader)

        with anyio.fail_after(5):
            ended = await asyncio.gather(ask(0.0), ask(0.005), return_exceptions=True)
    assert [*ended] == [shared, shared]
    assert len(server.requests) == 6


async def test_what_was_surely_not_paid_is_asked_again_with_the_whole_form() -> None:
    busy = reply(503, {"error": {"message": "busy", "type": "server_error"}})
    async with (
        answering(reply(429, "", {"retry-after": "0"}), busy, reply(200, b"data: 1\n\n")) as server,
        client_of(server) as client,
        client.stream(EDIT, retry=Retry(should_retry=is_safe_to_repeat)) as chunks,
    ):
        assert b"".join([chunk async for chunk in chunks]) == b"data: 1\n\n"
    assert [request.body.count(PIXELS) for request in server.requests] == [1, 1, 1]
    assert len({request.headers["content-type"] for request in server.requests}) == len(server.requests) == 3
    assert {request.headers["accept"] for request in server.requests} == {"text/event-stream"}
