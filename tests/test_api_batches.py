"""Batches through `Client`: they are read leniently, paged, and never created a second time by itself."""

from __future__ import annotations

import asyncio

import pytest

from asyncsdk import (
    APIConnectionError,
    APIStatusError,
    Batch,
    BatchProblem,
    ResponseMismatchError,
    api,
)
from asyncsdk.batches import ENDED, BatchRequestCounts
from asyncsdk.models import InvalidModelError, Usage, from_json, to_json
from asyncsdk.retry import Retry
from tests.raw_server import Talk, answering, client_of, reply, serving

# as the API's own document has it
BATCH = {
    "id": "batch_abc123",
    "object": "batch",
    "endpoint": "/v1/images/edits",
    "errors": None,
    "input_file_id": "file-abc123",
    "completion_window": "24h",
    "status": "completed",
    "output_file_id": "file-cvaTdG",
    "error_file_id": None,
    "created_at": 1711471533,
    "in_progress_at": 1711471538,
    "expires_at": 1711557933,
    "finalizing_at": 1711493133,
    "completed_at": 1711493163,
    "failed_at": None,
    "expired_at": None,
    "cancelling_at": None,
    "cancelled_at": None,
    "request_counts": {"total": 100, "completed": 95, "failed": 5},
    "metadata": {"customer_id": "user_123456789"},
    "model": "gpt-image-2.6",
    "usage": {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 7, "total_tokens": 12},
}
CREATE = api.create_batch(input_file_id="file-abc123", endpoint="/v1/images/edits")


def test_a_batch_is_read_with_all_its_fields_and_written_again() -> None:
    batch = from_json(Batch, BATCH)
    assert batch.request_counts == BatchRequestCounts(total=100, completed=95, failed=5)
    assert isinstance(batch.usage, Usage)
    assert (batch.usage.total_tokens, batch.metadata, batch.is_ended) == (12, {"customer_id": "user_123456789"}, True)
    assert from_json(Batch, to_json(batch)) == batch
    assert batch.extra == {}


def test_what_is_wrong_with_its_lines_is_read_line_by_line() -> None:
    problem = {"code": "duplicate_custom_id", "line": 7, "message": "It is there twice.", "param": "custom_id"}
    whole = {"code": "token_limit_exceeded", "line": None, "message": "Too many.", "param": None}
    batch = from_json(Batch, {"id": "b", "status": "failed", "errors": {"object": "list", "data": [problem, whole]}})
    assert batch.errors is not None
    assert batch.errors.data == (
        BatchProblem(code="duplicate_custom_id", line=7, message="It is there twice.", param="custom_id"),
        BatchProblem(code="token_limit_exceeded", message="Too many."),
    )


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "cancelling", "paused", None])
def test_a_status_that_is_not_known_is_read_and_is_not_the_end(status: str | None) -> None:
    batch = from_json(Batch, {"id": "b", "status": status, "surprise": 1})
    assert (batch.status, batch.is_ended, batch.extra) == (status, False, {"surprise": 1})


def test_the_statuses_of_the_end_are_these_and_only_its_id_is_needed() -> None:
    assert {"failed", "completed", "expired", "cancelled"} == ENDED
    assert from_json(Batch, {"id": "b"}) == Batch(id="b")
    with pytest.raises(InvalidModelError, match="no Batch"):
        from_json(Batch, {"object": "batch"})


async def test_batches_are_created_asked_for_and_cancelled() -> None:
    replies = [reply(200, BATCH | {"status": status}) for status in ("validating", "in_progress", "cancelling")]
    async with answering(*replies) as server, client_of(server) as client:
        created = await client.send(CREATE)
        there = await client.send(api.retrieve_batch(created.id))
        ended = await client.send(api.cancel_batch(created.id))
    assert [batch.status for batch in (created, there, ended)] == ["validating", "in_progress", "cancelling"]
    assert [(request.method, request.target) for request in server.requests] == [
        ("POST", "/v1/batches"),
        ("GET", "/v1/batches/batch_abc123"),
        ("POST", "/v1/batches/batch_abc123/cancel"),
    ]


async def test_the_list_is_walked_page_by_page() -> None:
    first = {"object": "list", "data": [BATCH], "last_id": "batch_abc123", "has_more": True}
    second = {"object": "list", "data": [BATCH | {"id": "batch_older"}], "has_more": False}
    async with answering(reply(200, first), reply(200, second)) as server, client_of(server) as client:
        assert [batch.id async for batch in client.pages(api.list_batches(limit=1))] == ["batch_abc123", "batch_older"]
    assert [request.target for request in server.requests] == [
        "/v1/batches?limit=1",
        "/v1/batches?limit=1&after=batch_abc123",
    ]


@pytest.mark.parametrize("status", [408, 500, 502, 503])
async def test_a_batch_that_may_have_been_created_is_not_created_again(status: int) -> None:
    refused = reply(status, headers={"retry-after": "0"})
    async with answering(refused, reply(200, BATCH)) as server, client_of(server) as client:
        with pytest.raises(APIStatusError) as failed:
            await client.send(CREATE, max_retries=5)
    assert not failed.value.resumable
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 409, 500, 503])
async def test_a_batch_is_not_created_again_by_retries_that_are_shared_with_other_requests(status: int) -> None:
    retry = Retry(max_retries=5, should_retry=lambda _: True)
    refused = reply(status, headers={"retry-after-ms": "1"})
    async with answering(refused, refused, reply(200, BATCH)) as server, client_of(server) as client:
        with pytest.raises(APIStatusError):
            await client.send(CREATE, retry=retry)
        assert (len(server.requests), retry.spent) == (1, 0)
        assert (await client.send(api.retrieve_batch("batch_abc123"), retry=retry)).id == "batch_abc123"
    assert len(server.requests) == 3


async def test_a_batch_whose_response_was_lost_is_not_created_again() -> None:
    async def hang_up(talk: Talk) -> None:
        await talk.hear()
        talk.reset()

    async with serving(hang_up) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError) as lost:
            await client.send(CREATE)
    assert not lost.value.resumable
    assert len(server.requests) == 1


async def test_a_batch_whose_client_is_closed_before_its_response_may_have_been_created() -> None:
    heard = asyncio.Event()

    async def keep_quiet(talk: Talk) -> None:
        await talk.hear()
        heard.set()
        await talk.hear()

    async with serving(keep_quiet) as server:
        client = client_of(server)
        creating = asyncio.ensure_future(client.send(CREATE))
        await heard.wait()
        await client.close()
        with pytest.raises(APIConnectionError, match="this Client was closed meanwhile") as lost:
            await creating
    assert not lost.value.resumable


async def test_a_batch_that_was_turned_away_is_created_by_the_next_attempt() -> None:
    busy = reply(429, headers={"retry-after-ms": "1"})
    async with answering(busy, reply(200, BATCH)) as server, client_of(server) as client:
        assert (await client.send(CREATE)).id == "batch_abc123"
    assert len(server.requests) == 2


async def test_reading_and_cancelling_are_tried_again() -> None:
    for request in (api.retrieve_batch("batch_abc123"), api.cancel_batch("batch_abc123")):
        async with answering(reply(500), reply(200, BATCH)) as server, client_of(server) as client:
            assert (await client.send(request)).id == "batch_abc123"
        assert len(server.requests) == 2


async def test_the_batch_of_another_is_not_taken_for_this_one() -> None:
    async with answering(reply(200, BATCH)) as server, client_of(server) as client:
        with pytest.raises(ResponseMismatchError):
            await client.send(api.retrieve_batch("batch_other"), max_retries=0)
